"""Which noise levels a diffusion model trains on, and how much each counts."""

import torch
from torch import Tensor

from orchestrion.config import Config
from orchestrion.sampling.parameterisations import Parameterisation
from orchestrion.sampling.paths import Path


class Times(Config):
    """Base: draws times for training. Even over the path."""

    def draw(self, count: int, path: Path, device: torch.device) -> Tensor:
        """-> times `[count]` in 0 to the path's end. Spread evenly over the batch, so that no batch is all noise."""
        places = (torch.rand(1, device=device) + torch.arange(count, device=device) / count) % 1
        return self.at(places.clamp(1e-4, 1 - 1e-6), path)

    def at(self, place: Tensor, path: Path) -> Tensor:
        """Quantiles in 0 to 1 -> times."""
        return place * path.end


class LogitNormal(Times):
    """The logit of the time is normal: most in the middle (Esser et al. 2024, arXiv 2403.03206, §3.1)."""

    signed = frozenset({"mean"})

    mean: float = 0.0
    spread: float = 1.0

    def at(self, place: Tensor, path: Path) -> Tensor:
        return torch.sigmoid(self.mean + self.spread * torch.special.ndtri(place)) * path.end


class LogNormal(Times):
    """The logarithm of σ/α is normal (Karras et al. 2022, table 1)."""

    signed = frozenset({"mean"})

    mean: float = -1.2
    spread: float = 1.2

    def at(self, place: Tensor, path: Path) -> Tensor:
        ratios = torch.exp(self.mean + self.spread * torch.special.ndtri(place))
        return torch.tensor([path.time_at(r) for r in ratios.tolist()], device=place.device)


class Weighting(Config):
    """Base: how much the squared error of the network's output counts. All levels alike."""

    def weigh(self, parameterisation: Parameterisation, alpha: Tensor, sigma: Tensor) -> Tensor:
        """α, σ `[b]` -> `[b]`."""
        return torch.ones_like(alpha)


class MinSNR(Weighting):
    """min(α²/σ², limit) on the squared error of the data, whatever the network tells (Hang et al. 2023, arXiv
    2303.09556, eq. 7): easy, clean levels don't drown the others."""

    limit: float = 5.0

    def weigh(self, parameterisation: Parameterisation, alpha: Tensor, sigma: Tensor) -> Tensor:
        snr = (alpha / sigma.clamp_min(1e-4)).square().clamp_max(1e6)
        if_data = snr.clamp_max(self.limit)
        reach = torch.as_tensor(parameterisation.reach(alpha.clamp_min(1e-4), sigma))
        return if_data * reach.square()
