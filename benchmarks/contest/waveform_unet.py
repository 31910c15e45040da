"""A step of Moûsai's waveform U-Net beside audio-diffusion-pytorch's: 217M parameters, stereo, 2^18 samples."""

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

from contest.environment import Environment
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks

SAMPLES, RATE = 2**18, 48_000
SIZES: dict[str, Any] = dict(
    channels=(8, 32, 64, 128, 256, 512, 512, 1024, 1024), factors=(1, 4, 4, 4, 2, 2, 2, 2, 2),
    items=(1, 2, 2, 2, 2, 2, 2, 4, 4), attentions=(0, 0, 0, 0, 0, 1, 1, 1, 1))


def theirs(half: bool) -> Tasks:
    try:
        import torchaudio  # noqa: F401  (theirs, for spectrograms that a step has no use for)
    except (ImportError, OSError):  # there is none for processors alone
        sys.modules["torchaudio"] = MagicMock()
    from audio_diffusion_pytorch import UNetV0

    net = UNetV0(dim=1, in_channels=2, attention_heads=8, attention_features=64, **SIZES).eval()
    return step(net, lambda x, t: net(x, time=t), half)


def ours(half: bool) -> Tasks:
    from orchestrion.nn.unet1d import UNet1d, UNet1dConfig

    net = UNet1d(UNet1dConfig(**SIZES), 2, 2).eval()
    return step(net, net, half)


def step(net: Any, call: Callable[..., Any], half: bool) -> Tasks:
    import torch

    x, t = torch.randn(1, 2, SAMPLES), torch.tensor([0.5])
    return Tasks.of(net, step=lambda: call(x, t)).autocast(half)


PAIR = Pair(
    title="Waveform U-Net, 217M", peer="audio-diffusion-pytorch 0.1.3", work="one evaluation, 5.46 s of 48 kHz stereo",
    environment=Environment("adp", ("torch==TORCH", "audio-diffusion-pytorch==0.1.3")),
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: ours(False), HALF: lambda: ours(True)}}, tasks={"step": SAMPLES / RATE})
