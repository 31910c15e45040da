"""What a network must do to stand in a diffusion model: tell something of a noisy x, its time and the prompt."""

from dataclasses import fields

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.contracts import Conditioner, Conditioning, Continuous


class Denoiser(nn.Module):
    """x `[b d n]` or `[b d f n]`, time `[b]` as the parameterisation tells it, conditioning -> as x."""

    multiple_of: int = 1  # frames
    accepts: frozenset[str] = frozenset()  # slots of Conditioning

    def forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        raise NotImplementedError

    def null(self, conditioning: Conditioning) -> Conditioning:
        """The conditioning that stands for no prompt, of the same shapes: zeros, where a network learns no other."""
        return _each(conditioning, lambda name, value: torch.ones_like(value) if name == "mask"
                     else torch.zeros_like(value))

    def drop(self, conditioning: Conditioning, dropped: Tensor) -> Conditioning:
        """Conditioning without the prompts of the clips where `dropped` `[b]` is True."""
        null = self.null(conditioning)
        return _each(conditioning, lambda name, value: torch.where(
            dropped.view(-1, *[1] * (value.ndim - 1)), getattr(null, name).to(value.dtype), value))


class DenoiserConfig(Config):
    def build(self, space: Continuous, conditioner: Conditioner | None) -> Denoiser:
        """Raises UserError where the space has another shape than this network takes."""
        raise NotImplementedError


def _each(conditioning: Conditioning, change) -> Conditioning:  # type: ignore[no-untyped-def]
    changed = {}
    for field in fields(Conditioning):
        value = getattr(conditioning, field.name)
        changed[field.name] = None if value is None else change(field.name, value)
    return Conditioning(**changed)
