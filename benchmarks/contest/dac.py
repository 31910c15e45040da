"""spectral-v5 beside the Descript audio codec (transformers' DacModel at its 44.1 kHz size): 2 s mono."""

from contest.codecs import spectral
from contest.hugging_face import ENVIRONMENT
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks

SECONDS = 2.0


def theirs(half: bool) -> Tasks:
    import torch
    from transformers import DacConfig, DacModel

    model = DacModel(DacConfig(sampling_rate=44_100)).eval()
    audio = 0.1 * torch.randn(1, 1, round(SECONDS * 44_100) // 512 * 512)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        coded = model.encode(audio).quantized_representation
    return Tasks.of(model, encode=lambda: model.encode(audio), decode=lambda: model.decode(coded)).autocast(half)


PAIR = Pair(
    title="DAC / spectral-v5", peer="transformers' DacModel, 44.1 kHz", work=f"{SECONDS:g} s mono", rounds=3,
    environment=ENVIRONMENT, tasks={"encode": SECONDS, "decode": SECONDS}, same_size=False,
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: spectral(SECONDS, FLOAT), HALF: lambda: spectral(SECONDS, HALF)}},
    note="other networks: ours gives numbers, DAC tokens")
