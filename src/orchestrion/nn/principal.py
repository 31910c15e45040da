"""Principal components of latents: which directions of a trained latent space carry something, and how much."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Principal(nn.Module):
    """Latents `[b d n]` <-> coordinates of zero mean and unit variance, the most important first.

    Until `fit`, the identity. `fidelity[i]` is the share of the variance that the first i + 1 explain.
    """

    centre: Tensor
    components: Tensor
    spread: Tensor
    fidelity: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("components", torch.eye(width))  # rows
        self.register_buffer("spread", torch.ones(width))  # deviation of each coordinate before it is scaled
        self.register_buffer("fidelity", torch.zeros(width))  # zeros: not fitted

    @property
    def fitted(self) -> bool:
        return bool(self.fidelity[-1] > 0)

    def enter(self, latents: Tensor, rank: int) -> Tensor:
        """-> the first `rank` coordinates."""
        centred = latents - self.centre[:, None]
        return _rotated(self.components[:rank], centred) / self.spread[:rank, None]

    def leave(self, coordinates: Tensor, others: Tensor) -> Tensor:
        """coordinates `[b r n]`, and unscaled values for the d - r others -> latents `[b d n]`."""
        rank = coordinates.shape[1]
        rotated = torch.cat([coordinates * self.spread[:rank, None], others], 1)
        return _rotated(self.components.t(), rotated) + self.centre[:, None]

    def rank(self, fidelity: float) -> int:
        """How many coordinates explain at least this share of the variance."""
        return min(int((self.fidelity < fidelity).sum()) + 1, len(self.fidelity))

    @torch.no_grad()
    def fit(self, latents: Iterable[Tensor]) -> bool:
        """-> whether there was anything to measure."""
        count = 0
        total = square = torch.zeros((), dtype=torch.float64)
        for some in latents:
            rows = some.double().transpose(0, 1).flatten(1)
            count += rows.shape[1]
            total, square = total + rows.sum(1), square + rows @ rows.T
        if count == 0:
            return False
        mean = total / count
        values, vectors = torch.linalg.eigh(square / count - torch.outer(mean, mean))
        values, vectors = values.flip(0).clamp_min(1e-10), vectors.flip(1).T
        self.centre.copy_(mean)
        self.components.copy_(vectors)
        self.spread.copy_(values.sqrt())
        self.fidelity.copy_(values.cumsum(0) / values.sum())
        return True


def _rotated(matrix: Tensor, x: Tensor) -> Tensor:
    """In float32 always: a large mean that cancels would leave little of half precision."""
    if torch.jit.is_scripting():
        return torch.matmul(matrix, x)
    else:
        with torch.autocast(x.device.type, enabled=False):
            return torch.matmul(matrix, x.float())
