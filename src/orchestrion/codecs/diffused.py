"""Codecs whose decoder is a diffusion model: what is encoded steers a U-Net that makes the waveform from noise.

    audio ── encoder ──► z          noise ── U-Net told z, v-diffusion ──► audio

Moûsai's autoencoder, up-sampler and vocoder (Schneider et al. 2023; audio-diffusion-pytorch 0.1.3, models.py) differ
in the encoder and in how the U-Net is told, so a generator over any of their latents is a cascade. α = cos(πσ/2),
β = sin(πσ/2), the network tells v = αε - βx, sampled by DDIM from σ = 1 to 0. Long audio comes out of one noise, whose
windows are denoised side by side, so that phases agree where they meet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrion.contracts import Codec, Continuous, Windowed
from orchestrion.errors import UserError
from orchestrion.sampling.diffusion import Predict, find_solver
from orchestrion.sampling.guidance import blended, window_starts
from orchestrion.sampling.parameterisations import Prediction, PredictsV
from orchestrion.sampling.paths import Angle, Level
from orchestrion.sampling.schedules import even

WINDOW = 12.0  # seconds that the U-Net sees at once
LONGEST = 900.0  # seconds that come out of one noise; two such are cross-faded


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
        super().__init__(space, sample_rate, channels, multiple_of, Windowed(overlap, LONGEST))
        if level <= 0:
            raise UserError(f"the level of a codec's waveform is a deviation above 0, got {level}")
        self.level = level

    def output(self, x: Tensor, time: Tensor, latents: Tensor) -> Tensor:
        """v `[b c t]` at x `[b c t]` and time `[b]`, for raw latents `[b d n]`."""
        raise NotImplementedError

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None,
                   options: DecodeOptions | None = None) -> Tensor:
        """Without `rng`, every clip starts from the same noise."""
        shape = (latents.shape[-1] * self.frame, self.channels)  # time first, so that a longer clip begins alike
        if rng is None:
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).expand(len(latents), -1, -1)
        else:
            noise = torch.stack([torch.randn(shape, generator=rng) for _ in latents])
        return self.denoise(noise.mT.contiguous().to(latents), latents, options)

    @torch.no_grad()
    def denoise(self, noise: Tensor, latents: Tensor, options: DecodeOptions | None = None) -> Tensor:
        """noise `[b c t]`, raw latents `[b d n]` -> audio `[b c t]`."""
        options = options or DecodeOptions()
        solve = find_solver(options.solver)
        return self.level * solve(self.predict(latents), noise, even(self.path, options.steps),
                                  lambda: torch.randn_like(noise))

    def predict(self, latents: Tensor, window: float = WINDOW) -> Predict:
        """The decoder as solvers want it. window: seconds that it sees at once of clips that are longer."""
        assert isinstance(self.chunking, Windowed)
        step = max(1, self.multiple_of // self.frame)  # frames that are coded together
        size = max(1, round(window * self.sample_rate / self.multiple_of)) * step
        overlap = min(-(-self.chunking.overlap // step) * step, size // 2 // step * step)
        frames = latents.shape[-1]
        if frames <= size:
            return lambda x, level: self._read(x, latents, level)
        starts = [step * start for start in window_starts(frames // step, size // step, overlap // step, False)]

        def inner(x: Tensor, level: Level) -> Prediction:
            def over(cut: Tensor, places: Sequence[int]) -> Prediction:
                told = torch.cat([latents[..., place // self.frame :][..., :size] for place in places])
                return self._read(cut, told, level)

            return blended(x, [start * self.frame for start in starts], size * self.frame, overlap * self.frame, over)

        return inner

    def _read(self, x: Tensor, latents: Tensor, level: Level) -> Prediction:
        output = self.output(x, x.new_full((len(x),), level.time), latents).float()
        return self.parameterisation.read(output, x, level.alpha, level.sigma)
