"""Musika's critic of latents: windows of a piece, beside their conditioning, to one number (Pasini & Schlüter 2022;
github.com/marcoppasini/musika, models.py); its layers serve the latent GAN's generator, too."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, leaky_relu, pad

START = 4  # steps at the bottom of the generator and at the top of the critic
HALF = math.sqrt(0.5)


class LatentCritic(nn.Module):
    """Windows `[b d latlen]`, beside their conditioning `[b e latlen]` -> one number each `[b]`. No norm."""

    def __init__(self, inputs: int, widths: Sequence[int], latlen: int) -> None:
        super().__init__()
        halvings = int(math.log2(latlen // START)) - 1  # after the first
        widths = [*widths, *[widths[-1]] * halvings][: halvings + 1]
        self.enter = nn.Conv1d(inputs, widths[0], 4, 2, 1)
        self.blocks = nn.ModuleList(
            # models.py: from the fifth block on, the first convolution has one tap
            CriticBlock(a, b, taps=4 if i < 4 else 1) for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.mix = Same(widths[-1], widths[-1], 3)
        self.leave = nn.Linear(START * widths[-1], 1)
        init_he(self)

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        x = x if extra is None else torch.cat([x, extra], 1)
        x = leaky_relu(self.enter(x), 0.2)
        for block in self.blocks:
            x = block(x)
        x = leaky_relu(self.mix(x), 0.2)
        return self.leave(x.mT.flatten(1))[:, 0].float()


class CriticBlock(nn.Module):
    """Two convolutions, the second of which halves the length, beside an averaged shortcut."""

    def __init__(self, inputs: int, outputs: int, taps: int) -> None:
        super().__init__()
        self.first = Same(inputs, inputs, taps)
        self.second = nn.Conv1d(inputs, outputs, 4, 2, 1)
        self.shortcut = nn.Conv1d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = HALF * leaky_relu(self.first(x), 0.2)
        h = HALF * leaky_relu(self.second(h), 0.2)
        return h + self.shortcut(avg_pool1d(x, 2))


class Same(nn.Conv1d):
    """TensorFlow's "same" convolution, stride 1: of an odd padding, the larger part goes behind."""

    def __init__(self, inputs: int, outputs: int, taps: int) -> None:
        super().__init__(inputs, outputs, taps)
        self.room = ((taps - 1) // 2, taps // 2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad(x, self.room))


def steepness(scores: Tensor, clips: Sequence[Tensor]) -> Tensor:
    """How steep the critic is at clips `[b d n]`, several of them, whose scores `[b]` were added: the mean square of
    the slope, summed over them, to be held down (R1 and R2: Mescheder et al. 2018, arXiv 1801.04406)."""
    slopes = torch.autograd.grad(scores.sum(), clips, create_graph=True)
    return torch.stack([slope.float().square().flatten(1).sum(1).mean() for slope in slopes]).sum()


@torch.no_grad()
def init_he(net: nn.Module) -> None:
    """Keras' `he_uniform`, biases 0. Keras counts a transposed convolution's fan-in from its outputs."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            fan_in: Any = module.weight[0].numel()
            limit = math.sqrt(6 / fan_in)
            module.weight.uniform_(-limit, limit)
            if module.bias is not None:
                module.bias.zero_()
