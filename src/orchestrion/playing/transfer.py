"""Any sound through a model's codec into the model's own: timbre transfer, and edits of the latents on the way."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.contracts import Continuous
from orchestrion.errors import UserError
from orchestrion.playing.edits import How
from orchestrion.playing.model import Model

LARGEST = 1000.0  # that standardised latents are scaled or moved by


@dataclass(frozen=True)
class LatentEdit:
    """What is done to standardised latents. Keys are latent channels, from 0; -1 means all of them."""

    scale: Mapping[int, float] = field(default_factory=dict)
    bias: Mapping[int, float] = field(default_factory=dict)
    noise: float = 0.0  # deviation of normal noise that is added
    seed: int = 0

    def __bool__(self) -> bool:
        return bool(self.scale or self.bias or self.noise)

    def check(self, model: Model) -> None:
        """Raises UserError where the model's latents can't be edited so."""
        space = model.system.codec.space
        if self and not isinstance(space, Continuous):
            raise UserError(f"{model.name} has tokens, which can't be scaled or moved; use a model with latents")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise UserError(f"noise is a finite number from 0, not {self.noise:g}")
        for figure in (*self.scale.values(), *self.bias.values(), self.noise):
            if not abs(figure) <= LARGEST:  # infinities and no-numbers too
                raise UserError("the numbers that scale, move or shake a latent lie between "
                                f"-{LARGEST:g} and {LARGEST:g}; got {figure:g}")
        for key in [*self.scale, *self.bias]:
            if isinstance(space, Continuous) and not -1 <= key < space.channels:
                raise UserError(f"{model.name} has the latents 0 to {space.channels - 1}, and no {key}")

    def __call__(self, latents: Tensor, start: int = 0) -> Tensor:
        """latents `[1 d n]`, whose first frame is number `start` of the clip: so noise doesn't depend on blocks."""
        if not self:
            return latents
        latents = latents.clone()
        for key, factor in self.scale.items():
            latents[:, slice(None) if key < 0 else slice(key, key + 1)] *= factor
        for key, offset in self.bias.items():
            latents[:, slice(None) if key < 0 else slice(key, key + 1)] += offset
        if self.noise:
            for i in range(latents.shape[-1]):
                rng = torch.Generator().manual_seed(self.seed + 1_000_003 * (start + i))
                drawn = torch.randn(latents.shape[1], generator=rng)
                latents[..., i] += self.noise * drawn.to(latents)
        return latents


UNEDITED = LatentEdit()


def keep_fidelity(model: Model, fidelity: float | None) -> int | None:
    """Has the model's codec code only what explains this share of the latents' variance; -> how many channels."""
    if fidelity is None:
        return None
    keep: Any = getattr(model.system.codec, "keep", None)
    if keep is None:
        raise UserError(f"{model.name}'s latents aren't ordered by importance, so --fidelity has no meaning")
    if model.system.generator is not None:
        raise UserError(f"the generator of {model.name} needs all its latents; leave --fidelity out")
    return int(keep(fidelity))


def transfer(model: Model, audio: Audio, edit: LatentEdit = UNEDITED, style: Audio | None = None) -> Audio:
    """The sound, made again by the model: a voice through a piano's RAVE plays piano.

    style: for models with AdaIN (RAVE v3), a sound whose statistics the result takes.
    """
    edit.check(model)
    if style is not None:
        _take_style(model, audio, style)
    length = round(audio.samples.shape[1] * model.sample_rate / audio.sample_rate)
    made = model.decode(edit(model.encode(audio)), length)
    return dataclasses.replace(made, provenance=model.record("transfer", edit if edit else None))


def interpolate(model: Model, first: Audio, second: Audio, mix: float = 0.5, how: How | None = None) -> Audio:
    """Between two sounds: mix 0 is the first, 1 the second; the longer one is cut. By the noises that lead to them
    where the model's generator can find these, as `how` says; else latent by latent."""
    if not 0 <= mix <= 1:
        raise UserError(f"the mix is a number from 0, the first sound, to 1, the second, not {mix:g}")
    if "interpolate" in model.capabilities:
        return model.interpolate(first, second, mix, how)
    if how is not None and (how.prompt or any(value is not None for value in (how.options or {}).values())):
        raise UserError(f"{model.name} goes from latent to latent, without steps or prompts: leave them out, or name a "
                        "diffusion model")
    if not isinstance(model.system.codec.space, Continuous):
        raise UserError(f"{model.name} has tokens, which have nothing between them; use a model with latents")
    a, b = model.encode(first), model.encode(second)
    count = min(a.shape[-1], b.shape[-1])
    made = model.decode(torch.lerp(a[..., :count], b[..., :count], mix))
    return dataclasses.replace(made, provenance=model.record("interpolate", mix=mix))


def _take_style(model: Model, audio: Audio, style: Audio) -> None:
    listen: Any = getattr(model.system.codec, "listen", None)
    if listen is None:
        raise UserError(f"{model.name} can't take the style of another sound: use a RAVE v3")
    for sound, target in ((style, True), (audio, False)):
        fitting = sound.resample(model.sample_rate).to_channels(model.channels)
        listen(fitting.samples[None].to(model.device), target)
