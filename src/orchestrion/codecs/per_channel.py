"""A stereo codec of a mono one: every channel goes through the same codec by itself, their latents side by side."""

from collections.abc import Iterable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from orchestrion.contracts import Codec, CodecConfig, Continuous, Discrete, Reconstruction, Space
from orchestrion.errors import UserError


class PerChannelConfig(CodecConfig):
    mono: CodecConfig
    channels: int = 2

    def build(self) -> "PerChannel":
        return PerChannel(self.mono.build(), self.channels)


class PerChannel(Codec):
    """Latents `[b c·d n]` or tokens `[b c·k n]`, the first channel's first.

    The latents' statistics are the mono codec's, the same for every channel: swapping channels swaps latents.
    """

    def __init__(self, mono: Codec, channels: int) -> None:
        if mono.channels != 1:
            raise UserError(f"PerChannel needs a mono codec, and {type(mono).__name__} has {mono.channels} channels")
        super().__init__(beside(mono.space, channels), mono.sample_rate, channels, mono.multiple_of, mono.chunking)
        self.mono = mono

    def analyse(self, audio: Tensor) -> Tensor:
        return self._join(self.mono.encode(fold(audio)))

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: Any = None) -> Tensor:
        audio = self.mono.decode(self._part(latents), rng=rng, options=options)
        return rearrange(audio, "(b c) 1 t -> b c t", c=self.channels)

    def forward(self, audio: Tensor) -> Reconstruction:
        made = self.mono(fold(audio))
        return Reconstruction(rearrange(made.audio, "(b c) 1 t -> b c t", c=self.channels),
                              self._join(made.latents), made.losses)

    def fit(self, batches: Iterable[Tensor]) -> None:
        self.mono.fit(fold(audio) for audio in batches)

    def _join(self, latents: Tensor) -> Tensor:
        return rearrange(latents, "(b c) d n -> b (c d) n", c=self.channels)

    def _part(self, latents: Tensor) -> Tensor:
        return rearrange(latents, "b (c d) n -> (b c) d n", c=self.channels)


def fold(audio: Tensor) -> Tensor:
    """`[b c t]` -> `[b·c 1 t]`."""
    return rearrange(audio, "b c t -> (b c) 1 t")


def beside(space: Space, channels: int) -> Space:
    if isinstance(space, Discrete):
        return Discrete(channels * space.codebooks, space.size, space.rate)
    if space.bands is not None:
        raise UserError("PerChannel can't lay latents with bands side by side: give the codec its channels itself")
    return Continuous(channels * space.channels, space.rate)
