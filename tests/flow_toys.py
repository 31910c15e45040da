"""A flow whose path is known exactly."""

import torch
from torch import nn

from orchestrion.contracts import Conditioner, Conditioning, Continuous
from orchestrion.generators.flow import DiTConfig, FlowConfig


class TwoPeaks(nn.Module):
    """The velocity towards data that are ±1 with a deviation of 0.2, exact, and beside it a small network that begins
    at zero. Words would shift it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.correct = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
        nn.init.zeros_(self.correct[-1].weight), nn.init.zeros_(self.correct[-1].bias)

    def forward(self, features, time, vector=None, words=None, mask=None, frames=None):
        x = features[..., :1]
        time = time.view(-1, 1, 1).expand(x.shape)
        variance = (0.2 * time) ** 2 + (1 - time) ** 2
        sign = torch.tanh(time * x / variance)  # the mean of the two peaks, by how likely each is
        data = sign + 0.2**2 * time / variance * (x - time * sign)
        noise = sign.neg() * time * (1 - time) / variance + x * (1 - time) / variance
        velocity = data - noise if vector is None else data - noise + vector[:, None]
        told = torch.cat([x, time, torch.sin(6 * time), torch.cos(6 * time), velocity], -1)
        return velocity + self.correct(told)


class Shift(Conditioner):
    fills, hears, width = frozenset({"vector"}), frozenset({"shift"}), 1

    def forward(self, prompts):
        return Conditioning(vector=torch.tensor([[prompt.attributes.get("shift", 0.0)] for prompt in prompts]))


class Parts:
    codec = None

    def __init__(self, conditioner=None, context=8192):
        self.conditioner = conditioner
        config = FlowConfig(net=DiTConfig(width=8, depth=1, heads=1), context=context, overlap=16)
        self.generator = config.build(Continuous(1, 10.0), conditioner)
        self.generator.net = TwoPeaks()


def peaks(clips, frames):
    """What it makes: `[clips 1 frames]`."""
    return torch.where(torch.rand(clips, 1, frames) < 0.5, 1.0, -1.0) + 0.2 * torch.randn(clips, 1, frames)
