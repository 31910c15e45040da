"""RAVE v2 beside acids-rave: 12 s of 48 kHz mono encoded and decoded, and causal, live, in blocks of 2048 samples.

Decoding is RAVE's generation. acids-rave's weight norm is folded, in its favour, and what only its training needs is
replaced by dummies (tests/fixtures/rave/make.py).
"""

import sys
from pathlib import Path
from typing import Any

from contest.environment import Environment
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks

SECONDS, RATE, BLOCK, BLOCKS = 12, 48_000, 2048, 20
FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "rave"


def theirs(half: bool) -> Tasks:
    import torch

    sys.path.insert(0, str(FIXTURES))
    import make

    make.dummies()

    def folded(model: Any) -> Any:
        for module in model.modules():
            if hasattr(module, "weight_g"):
                torch.nn.utils.remove_weight_norm(module)
        return model

    whole = folded(make.build("v2", ["SAMPLING_RATE=48000"]))
    live = folded(make.build(("v2", "causal"), ["SAMPLING_RATE=48000"], streaming=True))

    def encode(model: Any, audio: Any) -> Any:
        return model.encoder.reparametrize(model.encode(audio))[0]

    def stream() -> None:
        for block in blocks:
            live.decode(encode(live, block))

    audio, blocks = sound()
    latents = encode(whole, audio)
    return Tasks.of(whole.encoder, whole.decoder, encode=lambda: encode(whole, audio),
                    decode=lambda: whole.decode(latents), live=stream).autocast(half)


def ours(half: bool) -> Tasks:
    from orchestrion.codecs.rave import RaveConfig

    whole, live = (RaveConfig(sample_rate=RATE, causal=causal).build().eval() for causal in (False, True))
    state: list[Any] = [None, None]

    def stream() -> None:
        for block in blocks:
            latents, state[0] = live.encode_stream(block, state[0])
            if latents.shape[-1]:
                _, state[1] = live.decode_stream(latents, state[1])

    audio, blocks = sound()
    latents = whole.encode(audio)
    return Tasks.of(whole, encode=lambda: whole.encode(audio), decode=lambda: whole.decode(latents),
                    live=stream).autocast(half)


def sound() -> Any:
    import torch

    audio = 0.1 * torch.randn(1, 1, SECONDS * RATE // BLOCK * BLOCK)
    return audio, audio.split(BLOCK, -1)[:BLOCKS]


PAIR = Pair(
    title="RAVE v2", peer="acids-rave 2.3.1", work=f"{SECONDS} s, 48 kHz mono; live: {BLOCKS} blocks of {BLOCK}",
    environment=Environment("rave", ("torch==TORCH", "numpy<2", "scipy<1.12", "einops"),
                            ("acids-rave==2.3.1", "cached-conv", "nn-tilde", "gin-config")),
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: ours(False), HALF: lambda: ours(True)}},
    tasks={"encode": SECONDS, "decode": SECONDS, "live": BLOCKS * BLOCK / RATE}, times={"decode": 3.0})
