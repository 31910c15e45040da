"""A generator as small as can be that edits, and something for it to edit."""

import math

import torch

from orchestrion.audio import Audio
from orchestrion.contracts import Continuous, Edit
from orchestrion.sampling.clips import clip_generators, clip_noise
from toys import ToyGenerator, ToyGeneratorConfig

RATE = 8000


class EditingToyConfig(ToyGeneratorConfig):
    def build(self, space, conditioner):
        assert isinstance(space, Continuous)
        return EditingToy(self, space)


class EditingToy(ToyGenerator):
    """Keeps what it is told to keep, and makes noise of the source's spread elsewhere."""

    capabilities = frozenset({"continue", "inpaint", "vary", "interpolate"})
    seen: list[Edit]

    def sample(self, frames, conditioning, seeds, options=None, edit=None, progress=None):
        self.seen = [*getattr(self, "seen", []), edit]
        noise = clip_noise(clip_generators(seeds), self.channels, frames)
        fresh = (1 - edit.strength) * edit.source + edit.strength * noise * edit.source.std()
        return torch.where(edit.keep[:, None], edit.source, fresh)

    def interpolate(self, first, second, shares, conditioning, options=None, progress=None):
        return torch.cat([torch.lerp(first, second, share) for share in shares])


def music(seconds, seed=0):
    time = torch.arange(round(seconds * RATE)) / RATE
    tone = sum(torch.sin(2 * math.pi * f * time + f) for f in (110, 220, 331))
    return Audio(0.2 * tone + 0.01 * torch.randn(len(time), generator=torch.Generator().manual_seed(seed)), RATE)
