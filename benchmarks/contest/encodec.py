"""spectral-v5 beside EnCodec (transformers' EncodecModel at its 24 kHz, 6 kbit/s): 5 s mono encoded and decoded."""

from contest.codecs import spectral
from contest.hugging_face import ENVIRONMENT
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks

SECONDS = 5.0


def theirs(half: bool) -> Tasks:
    import torch
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig()).eval()
    audio = 0.1 * torch.randn(1, 1, round(SECONDS * 24_000))
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        coded = model.encode(audio, bandwidth=6.0)
    return Tasks.of(model, encode=lambda: model.encode(audio, bandwidth=6.0),
                    decode=lambda: model.decode(coded.audio_codes, coded.audio_scales)).autocast(half)


PAIR = Pair(
    title="EnCodec / spectral-v5", peer="transformers' EncodecModel, 24 kHz", work=f"{SECONDS:g} s mono",
    environment=ENVIRONMENT, tasks={"encode": SECONDS, "decode": SECONDS}, same_size=False,
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: spectral(SECONDS, FLOAT), HALF: lambda: spectral(SECONDS, HALF)}},
    note="other networks: ours works at 44.1 kHz and gives numbers, EnCodec at 24 kHz and gives tokens")
