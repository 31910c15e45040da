"""Denoising as AudioLDM learns it: each clip is steered by what a CLAP hears in it, so that no captions are needed, and
by what the CLAP reads once it plays (Liu et al. 2023, arXiv 2301.12503, §3).

Clips are also mixed with each other: of a mix the CLAP hears what it is, where two captions would have to be joined.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.contracts import Batch, Conditioner, Parts, Prompt
from orchestrion.errors import UserError
from orchestrion.objectives.diffusion import Denoise, DenoiseConfig, DiffusionModel


class HeardDenoiseConfig(DenoiseConfig):
    mixed: float = 0.5  # share of the clips that are mixed with another
    evenness: float = 5.0  # of the two in a mix: their shares are drawn from Beta(evenness, evenness)
    read: float = 0.0  # share of the clips that are steered by their caption all the same

    def build(self, parts: Parts) -> "HeardDenoise":
        if not isinstance(parts.generator, DiffusionModel):
            raise UserError(f"denoising trains a diffusion model, not a {type(parts.generator).__name__}")
        conditioner = parts.conditioner
        if conditioner is None or not hasattr(conditioner, "hear"):
            raise UserError(f"AudioLDM learns from what a CLAP hears, and this system's {type(conditioner).__name__} "
                            "can't hear: take a CLAP by --from, or train on captions, with a DenoiseConfig")
        return HeardDenoise(self, parts.generator, conditioner, parts.codec)


class HeardDenoise(Denoise):
    config: HeardDenoiseConfig

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        if batch.audio is None:
            raise UserError("AudioLDM's diffusion hears what it is to make: set the stage's `on` to audio")
        audio, codec = self._mix(batch.audio), self.codec[0]
        with torch.no_grad():
            latents = codec.encode(audio)
        conditioner = self.parts[1]
        assert conditioner is not None
        prompts = [Prompt(audio=clip) for clip in heard_at(conditioner, audio, codec.sample_rate)]
        told = batch.prompts or [Prompt()] * len(prompts)
        for i, takes in enumerate((torch.rand(len(prompts)) < self.config.read).tolist()):
            if takes and told[i].text:
                prompts[i] = told[i]
        yield from super().losses(Batch(latents=latents, prompts=prompts), step)

    def _mix(self, audio: Tensor) -> Tensor:
        """audio `[b c t]`, some of the clips mixed with the one before."""
        mixed = torch.rand(len(audio)) < self.config.mixed
        shares = torch.distributions.Beta(self.config.evenness, self.config.evenness).sample((len(audio),))
        shares = torch.where(mixed, shares, torch.ones_like(shares)).to(audio)
        return mix(audio, audio.roll(1, 0), shares[:, None, None])


def mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """share·first + (1 - share)·second `[b c t]`, its energy the same mean of theirs: two clips that have nothing to do
    with each other would lose up to 3 dB."""
    made = share * first + (1 - share) * second
    energy, one, other = (x.square().mean((1, 2), keepdim=True) for x in (made, first, second))
    return made * ((share * one + (1 - share) * other) / energy.clamp_min(1e-10)).sqrt().clamp_max(2.0)


def heard_at(conditioner: Conditioner, audio: Tensor, sample_rate: int) -> list[Tensor]:
    """audio `[b c t]` -> clips `[c t]` at the rate at which the conditioner hears."""
    rate = int(getattr(conditioner, "sample_rate"))  # noqa: B009  (whoever hears has one)
    if rate == sample_rate:
        return list(audio)
    return [Audio(clip.float().cpu(), sample_rate).resample(rate).samples.to(audio.device) for clip in audio]
