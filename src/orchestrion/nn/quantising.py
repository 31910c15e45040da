"""Residual vector quantisation with codebooks that follow the data (Zeghidour et al. 2021, SoundStream, algorithm 1).

Codebooks are moving averages of what falls to each code (van den Oord et al. 2017, appendix A); codes that hardly
anything falls to are put in new places (Dhariwal et al. 2020, Jukebox).
"""

import torch
from torch import Tensor, nn


class Codebook(nn.Module):
    """Vectors `[… d]` -> the nearest of `size` codes."""

    codes: Tensor
    sums: Tensor
    uses: Tensor

    def __init__(self, size: int, width: int, decay: float = 0.99, dead: float = 2.0) -> None:
        super().__init__()
        self.decay, self.dead = decay, dead
        codes = torch.randn(size, width) / width**0.5
        self.register_buffer("codes", codes)
        self.register_buffer("sums", codes.clone())
        self.register_buffer("uses", torch.ones(size))

    def nearest(self, x: Tensor) -> Tensor:
        """`[… d]` -> indices `[…]`."""
        distance = self.codes.square().sum(-1) - 2 * torch.matmul(x, self.codes.t())
        return distance.argmin(-1)

    @torch.no_grad()
    def follow(self, x: Tensor, index: Tensor) -> None:
        """Moves the codes towards what fell to them. x `[m d]`, index `[m]`."""
        chosen = nn.functional.one_hot(index, len(self.codes)).to(x.dtype)
        self.uses.lerp_(chosen.sum(0), 1 - self.decay)
        self.sums.lerp_(chosen.t() @ x, 1 - self.decay)
        total = self.uses.sum()
        smooth = (self.uses + 1e-5) / (total + len(self.uses) * 1e-5) * total
        self.codes.copy_(self.sums / smooth[:, None])
        lost = self.uses < min(self.dead, 0.25 * len(x) / len(self.codes))
        fresh = x[torch.randint(len(x), (len(self.codes),), device=x.device)]
        self.codes.copy_(torch.where(lost[:, None], fresh, self.codes))
        self.sums.copy_(torch.where(lost[:, None], fresh, self.sums))
        self.uses.copy_(torch.where(lost, torch.ones_like(self.uses), self.uses))


class ResidualQuantiser(nn.Module):
    """latents `[b d n]` <-> tokens `[b k n]`, every codebook coding what those before it left."""

    def __init__(self, codebooks: int, size: int, width: int) -> None:
        super().__init__()
        self.books = nn.ModuleList(Codebook(size, width) for _ in range(codebooks))

    def encode(self, latents: Tensor) -> Tensor:
        rest = latents.float().transpose(1, 2)
        tokens = []
        for book in self.books:
            index = book.nearest(rest)  # type: ignore[operator]
            rest = rest - nn.functional.embedding(index, book.codes)  # type: ignore[arg-type]
            tokens.append(index)
        return torch.stack(tokens, 1)

    def decode(self, tokens: Tensor) -> Tensor:
        total = torch.zeros(1, device=tokens.device)
        for i, book in enumerate(self.books):
            total = total + nn.functional.embedding(tokens[:, i], book.codes)  # type: ignore[arg-type]
        return total.transpose(1, 2)

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """-> quantised latents that pass the gradient on, and the commitment: the mean squared distance to the codes,
        summed over codebooks. While training, the codebooks follow."""
        rest = latents.float().transpose(1, 2)
        total, commitment = torch.zeros_like(rest), rest.new_zeros(())
        for book in self.books:
            assert isinstance(book, Codebook)
            index = book.nearest(rest)
            chosen = nn.functional.embedding(index, book.codes)
            commitment = commitment + (rest - chosen).square().mean()
            if self.training:
                book.follow(rest.detach().flatten(0, 1), index.flatten())
            rest = rest - chosen.detach()
            total = total + chosen
        total = total.transpose(1, 2)
        return latents + (total - latents).detach(), commitment
