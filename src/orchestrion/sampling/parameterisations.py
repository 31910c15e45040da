"""What a network tells of a noisy x, as thin wrappers: the noise, the data, v, a velocity, or EDM's preconditioning.

Each turns the network's output into the same `Prediction`, so that no solver knows what the network was
trained on. α and σ are numbers while sampling and tensors `[b 1 …]` while training.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from orchestrion.config import Config
from orchestrion.errors import UserError
from orchestrion.sampling.paths import Level, Path, Scale


class Prediction(NamedTuple):
    """The network's belief: x = α·data + σ·noise, both of x's shape."""

    data: Tensor
    noise: Tensor


class Parameterisation(Config):
    """Base: how data and noise follow from the output, and what the output is to be."""

    def enter(self, x: Tensor, time: Scale, alpha: Scale, sigma: Scale) -> tuple[Tensor, Scale]:
        """What the network is given for x: its input, and the time that it is told."""
        return x, time

    def read(self, output: Tensor, x: Tensor, alpha: Scale, sigma: Scale) -> Prediction:
        """The network's output at x -> data and noise."""
        raise NotImplementedError

    def target(self, data: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """What the output should be."""
        raise NotImplementedError

    def reach(self, alpha: Scale, sigma: Scale) -> Scale:
        """By how much an error of the output moves the predicted data."""
        raise NotImplementedError

    def check(self, path: Path) -> None:
        """Raises UserError where this parameterisation can't tell the data at the path's end."""


class PredictsNoise(Parameterisation):
    """ε (Ho et al. 2020)."""

    def read(self, output: Tensor, x: Tensor, alpha: Scale, sigma: Scale) -> Prediction:
        return Prediction((x - sigma * output) / alpha, output)

    def target(self, data: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return noise

    def reach(self, alpha: Scale, sigma: Scale) -> Scale:
        return sigma / alpha

    def check(self, path: Path) -> None:
        if path.level(path.end).alpha < 1e-6:
            raise UserError(f"{type(path).__name__} ends in pure noise, where predicting the noise says nothing of "
                            "the data: let the network predict v or the data")


class PredictsData(Parameterisation):
    """x₀."""

    def read(self, output: Tensor, x: Tensor, alpha: Scale, sigma: Scale) -> Prediction:
        return Prediction(output, (x - alpha * output) / sigma)

    def target(self, data: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return data

    def reach(self, alpha: Scale, sigma: Scale) -> Scale:
        return 1.0


class PredictsV(Parameterisation):
    """v = α·ε - σ·x₀ on a path with α² + σ² = 1 (Salimans & Ho 2022, §4)."""

    def read(self, output: Tensor, x: Tensor, alpha: Scale, sigma: Scale) -> Prediction:
        return Prediction(alpha * x - sigma * output, sigma * x + alpha * output)

    def target(self, data: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return alpha * noise - sigma * data

    def reach(self, alpha: Scale, sigma: Scale) -> Scale:
        return sigma

    def check(self, path: Path) -> None:
        for time in (0.3, 0.7):
            level = path.level(time * path.end)
            if abs(level.alpha**2 + level.sigma**2 - 1) > 1e-3:
                raise UserError(f"v is defined where α² + σ² = 1, and {type(path).__name__} is no such path")


class PredictsVelocity(Parameterisation):
    """dx/dt = ε - x₀ on the straight path α + σ = 1 (Liu et al. 2022)."""

    def read(self, output: Tensor, x: Tensor, alpha: Scale, sigma: Scale) -> Prediction:
        return Prediction(x - sigma * output, x + alpha * output)

    def target(self, data: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        return noise - data

    def reach(self, alpha: Scale, sigma: Scale) -> Scale:
        return sigma

    def check(self, path: Path) -> None:
        level = path.level(path.end / 2)
        if abs(level.alpha + level.sigma - 1) > 1e-3:
            raise UserError(f"a velocity is defined where α + σ = 1, and {type(path).__name__} is no such path")


class Preconditioned(Parameterisation):
    """EDM: unit variance in and out at every noise level, for data of deviation `data` (Karras et al. 2022, table 1).

    D(x) = c_skip·x + c_out·F(c_in·x, ln(σ)/4), on any path by σ/α in the place of their σ.
    """

    data: float = 0.5

    def _skip_out(self, alpha: Scale, sigma: Scale) -> tuple[Scale, Scale]:
        total = (alpha * self.data) ** 2 + sigma**2
        return alpha * self.data**2 / total, sigma * self.data / total**0.5

    def enter(self, x: Tensor, time: Scale, alpha: Scale, sigma: Scale) -> tuple[Tensor, Scale]:
        scaled = x / ((alpha * self.data) ** 2 + sigma**2) ** 0.5
        return scaled, torch.as_tensor(sigma / alpha).log() / 4

    def read(self, output: Tensor, x: Tensor, alpha: Scale, sigma: Scale) -> Prediction:
        skip, out = self._skip_out(alpha, sigma)
        data = skip * x + out * output
        return Prediction(data, (x - alpha * data) / sigma)

    def target(self, data: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        skip, out = self._skip_out(alpha, sigma)
        return (data - skip * (alpha * data + sigma * noise)) / out

    def reach(self, alpha: Scale, sigma: Scale) -> Scale:
        return self._skip_out(alpha, sigma)[1]


def clipped(prediction: Prediction, x: Tensor, level: Level, limit: float, keep_noise: bool) -> Prediction:
    """The data held within ± limit; the noise as it was (diffusers' DDIM), or what then explains x (its DDPM)."""
    data = prediction.data.clamp(-limit, limit)
    noise = prediction.noise if keep_noise or not level.sigma else (x - level.alpha * data) / level.sigma
    return Prediction(data, noise)
