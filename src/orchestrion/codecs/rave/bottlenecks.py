"""What RAVE does to its latents: a Gaussian prior (v1, v2), matched distributions (wasserstein), tokens (discrete)."""

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.nn.quantising import ResidualQuantiser


class BottleneckConfig(Config):
    def build(self, latents: int) -> "Bottleneck":
        raise NotImplementedError


class VariationalConfig(BottleneckConfig):
    def build(self, latents: int) -> "Bottleneck":
        return Variational()


class WassersteinConfig(BottleneckConfig):
    noise: int = 128  # channels of noise that the decoder hears beside the latents

    def build(self, latents: int) -> "Bottleneck":
        return Wasserstein(self.noise)


class QuantisedConfig(BottleneckConfig):
    codebooks: int = 16
    size: int = 1024
    noise: int = 128

    def build(self, latents: int) -> "Bottleneck":
        return Quantised(self, latents)


class Bottleneck(nn.Module):
    groups: int = 1  # numbers that the encoder gives for each latent
    noise: int = 0  # channels

    def means(self, encoded: Tensor) -> Tensor:
        """What the encoder gives -> latents `[b d n]`, without chance."""
        return encoded

    def sample(self, encoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """In training: -> what the decoder hears `[b d n]`, and named losses."""
        raise NotImplementedError


class Variational(Bottleneck):
    groups = 2

    def means(self, encoded: Tensor) -> Tensor:
        return encoded.chunk(2, 1)[0]

    def sample(self, encoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """`kl`: Σ over latents of μ² + σ² - log σ² - 1, the mean over the batch and time, without the usual ½."""
        mean, scale = encoded.float().chunk(2, 1)
        deviation = nn.functional.softplus(scale) + 1e-4
        kl = (mean.square() + deviation.square() - 2 * deviation.log() - 1).sum(1).mean()
        return mean + deviation * torch.randn_like(mean), {"kl": kl}


class Wasserstein(Bottleneck):
    def __init__(self, noise: int) -> None:
        super().__init__()
        self.noise = noise

    def sample(self, encoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """`mmd`: the maximum mean discrepancy from N(0, 1), kernel exp(-|x - y|² / d²) (Tolstikhin et al. 2018)."""
        latents = encoded.float()
        flat = latents.transpose(1, 2).flatten(0, 1)
        normal = torch.randn_like(flat)
        mmd = _kernel(flat, flat) + _kernel(normal, normal) - 2 * _kernel(flat, normal)
        return latents, {"mmd": mmd}


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return torch.exp(-torch.cdist(x, y).square() / x.shape[-1] ** 2).mean()


class Quantised(Bottleneck):
    def __init__(self, config: QuantisedConfig, latents: int) -> None:
        super().__init__()
        self.noise = config.noise
        self.quantiser = ResidualQuantiser(config.codebooks, config.size, latents)

    def sample(self, encoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        quantised, commitment = self.quantiser.quantise(encoded)
        return quantised, {"commitment": commitment}
