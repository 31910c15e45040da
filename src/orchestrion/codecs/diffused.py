"""Codecs whose decoder is a diffusion model: what is encoded steers a U-Net that makes the waveform from noise.

    audio ── encoder ──► z          noise ── U-Net told z, v-diffusion ──► audio

Moûsai's autoencoder, up-sampler and vocoder (Schneider et al. 2023; audio-diffusion-pytorch 0.1.3, models.py) differ
in the encoder and in how the U-Net is told, so a generator over any of their latents is a cascade. α = cos(πσ/2),
β = sin(πσ/2), the network tells v = αε - βx, sampled by DDIM from σ = 1 to 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrion.contracts import Codec, Continuous, Windowed
from orchestrion.errors import UserError
from orchestrion.sampling.diffusion import Predict, find_solver
from orchestrion.sampling.parameterisations import Prediction, PredictsV
from orchestrion.sampling.paths import Angle, Level
from orchestrion.sampling.schedules import even


@dataclass(frozen=True)
class DecodeOptions:
    """How a diffused codec decodes."""

    steps: int = 20
    solver: str = "ddim"


class DiffusedCodec(Codec):
    """Subclasses implement `analyse` and `output`. level: deviation of the music's samples, which the U-Net sees
    divided by it."""

    path, parameterisation = Angle(), PredictsV()

    def __init__(self, space: Continuous, sample_rate: int, channels: int, multiple_of: int, overlap: int,
                 level: float) -> None:
        super().__init__(space, sample_rate, channels, multiple_of, Windowed(overlap))
        if level <= 0:
            raise UserError(f"the level of a codec's waveform is a deviation above 0, got {level}")
        self.level = level

    def output(self, x: Tensor, time: Tensor, latents: Tensor) -> Tensor:
        """v `[b c t]` at x `[b c t]` and time `[b]`, for raw latents `[b d n]`."""
        raise NotImplementedError

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None,
                   options: DecodeOptions | None = None) -> Tensor:
        """Without `rng`, every clip starts from the same noise."""
        shape = (self.channels, latents.shape[-1] * self.frame)
        if rng is None:
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).expand(len(latents), -1, -1)
        else:
            noise = torch.stack([torch.randn(shape, generator=rng) for _ in latents])
        return self.denoise(noise.to(latents), latents, options)

    @torch.no_grad()
    def denoise(self, noise: Tensor, latents: Tensor, options: DecodeOptions | None = None) -> Tensor:
        """noise `[b c t]`, raw latents `[b d n]` -> audio `[b c t]`."""
        options = options or DecodeOptions()
        solve = find_solver(options.solver)
        return self.level * solve(self.predict(latents), noise, even(self.path, options.steps),
                                  lambda: torch.randn_like(noise))

    def predict(self, latents: Tensor) -> Predict:
        """The decoder as solvers want it."""

        def inner(x: Tensor, level: Level) -> Prediction:
            output = self.output(x, x.new_full((len(x),), level.time), latents).float()
            return self.parameterisation.read(output, x, level.alpha, level.sigma)

        return inner
