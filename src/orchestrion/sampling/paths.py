"""Paths from data to noise: x = α(t)·data + σ(t)·noise, where α falls and σ rises with the time t.

Everything else (parameterisations, schedules, solvers) speaks of a place on a path by its `Level`, so that each
combines with any path. A path is plain data: it stands in a generator's config as it is.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from orchestrion.config import Config
from orchestrion.errors import UserError

Scale = Tensor | float


@dataclass(frozen=True)
class Level:
    """One place on a path. time: what the network is told of it."""

    time: float
    alpha: float
    sigma: float

    @property
    def ratio(self) -> float:
        """σ/α, the noise beside data of unit scale; infinite where nothing of the data is left."""
        return self.sigma / self.alpha if self.alpha else math.inf

    @property
    def log_snr(self) -> float:
        """ln(α/σ), the λ of DPM-Solver (half the logarithm of the signal-to-noise ratio)."""
        if self.sigma == 0:
            return math.inf
        return math.log(self.alpha / self.sigma) if self.alpha else -math.inf


class Path(Config):
    """Base of all paths. Time 0 is data; `end` is the noisiest time."""

    @property
    def end(self) -> float:
        return 1.0

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """time, any shape, in 0 to `end` -> α and σ of the same shape and precision."""
        raise NotImplementedError

    def time_at(self, ratio: float) -> float:
        """The time at which σ/α is `ratio`."""
        raise NotImplementedError

    def level(self, time: float) -> Level:
        alpha, sigma = self.scales(torch.tensor(time, dtype=torch.float64))
        return Level(time, alpha.item(), sigma.item())

    def level_at(self, ratio: float) -> Level:
        return self.level(self.time_at(ratio))


# Variance preserving: α² + σ² = 1, given by the variances β_k that T steps of noise add (Ho et al. 2020)


class VariancePreserving(Path):
    """ᾱ_k = Π(1 - β_i) at the times (k + 1) / T, k = 0 … T - 1; between them ln ᾱ is linear, and ᾱ(0) = 1.

    zero_terminal: the last level is made pure noise, ᾱ_{T-1} = 0, and the others are scaled to fit (Lin et al.
    2023, arXiv 2305.08891, algorithm 1). It needs a parameterisation that can start there (v, data).
    """

    steps: int = 1000
    zero_terminal: bool = False

    def betas(self) -> Tensor:
        """β_0 … β_{T-1}, float64 `[steps]`."""
        raise NotImplementedError

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        place = (time.double() * self.steps).clamp(0, self.steps)
        before = place.floor().long().clamp(max=self.steps - 1)
        table = _log_alphas(self).to(time.device)
        log_alpha = torch.lerp(table[before], table[before + 1], place - before)
        variance = -torch.expm1(2 * log_alpha)
        alpha = torch.where(log_alpha > NOTHING, log_alpha.exp(), torch.zeros_like(log_alpha))
        return alpha.to(time.dtype), variance.clamp_min(0).sqrt().to(time.dtype)

    def time_at(self, ratio: float) -> float:
        table = _log_alphas(self)
        log_alpha = -0.5 * math.log1p(ratio**2) if math.isfinite(ratio) else -math.inf
        if log_alpha <= table[-1].item():
            return 1.0
        after = int((table > log_alpha).sum())
        before, following = table[after - 1].item(), table[after].item()
        return (after - 1 + (before - log_alpha) / (before - following)) / self.steps


NOTHING = -40.0  # ln α that stands for α = 0: no float can hear the difference


@lru_cache(maxsize=16)
def _log_alphas(path: VariancePreserving) -> Tensor:
    """ln √ᾱ at the times 0, 1/T, … 1, float64 `[steps + 1]`."""
    log_alpha = torch.log1p(-path.betas()).cumsum(0) / 2
    if path.zero_terminal:
        alpha = log_alpha.exp()
        alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        log_alpha = alpha.log().clamp_min(NOTHING)
    return torch.cat([log_alpha.new_zeros(1), log_alpha])


class Linear(VariancePreserving):
    """β rises linearly (Ho et al. 2020, §4)."""

    first: float = 1e-4
    last: float = 0.02

    def betas(self) -> Tensor:
        return torch.linspace(self.first, self.last, self.steps, dtype=torch.float64)


class ScaledLinear(VariancePreserving):
    """√β rises linearly (latent diffusion: Rombach et al. 2022; CompVis calls it linear)."""

    first: float = 0.00085
    last: float = 0.012

    def betas(self) -> Tensor:
        return torch.linspace(self.first**0.5, self.last**0.5, self.steps, dtype=torch.float64).square()


class Cosine(VariancePreserving):
    """ᾱ = cos²((t + s) / (1 + s)·π/2), no β above 0.999 (Nichol & Dhariwal 2021, eq. 17)."""

    offset: float = 0.008

    def betas(self) -> Tensor:
        time = torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)
        kept = torch.cos((time + self.offset) / (1 + self.offset) * math.pi / 2).square()
        return (1 - kept[1:] / kept[:-1]).clamp_max(0.999)


class Angle(Path):
    """v-diffusion: α = cos(πt/2), σ = sin(πt/2), pure noise at the end (Salimans & Ho 2022, arXiv 2202.00512, §4)."""

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        angle = time * math.pi / 2
        alpha = torch.cos(angle)
        return torch.where(time >= 1, torch.zeros_like(alpha), alpha), torch.sin(angle)

    def time_at(self, ratio: float) -> float:
        return math.atan(ratio) * 2 / math.pi


class VarianceExploding(Path):
    """α = 1, σ = t up to `sigma_max` (Karras et al. 2022, arXiv 2206.00364)."""

    sigma_max: float = 80.0

    @property
    def end(self) -> float:
        return self.sigma_max

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(time), time

    def time_at(self, ratio: float) -> float:
        return min(ratio, self.sigma_max)


class Straight(Path):
    """Rectified flow: α = 1 - t, σ = t (Liu et al. 2022, arXiv 2209.03003)."""

    def scales(self, time: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - time, time

    def time_at(self, ratio: float) -> float:
        return ratio / (1 + ratio) if math.isfinite(ratio) else 1.0


def spread(scale: Tensor, like: Tensor) -> Tensor:
    """`[b]` -> `[b 1 1 …]`, to multiply `like`."""
    if scale.shape != like.shape[:1]:
        raise UserError(f"one noise level a clip is wanted: {len(like)}, not {tuple(scale.shape)}")
    return scale.view(-1, *[1] * (like.ndim - 1))
