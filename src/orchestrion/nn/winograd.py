"""A 3x3 convolution by Winograd's minimal filtering, F(2x2, 3x3): 16 products where there were 36.

    x ── tiles of 4x4, every 2, transformed ──► 16 matrix products over the channels ── transformed ──► 2x2 of y

Lavin & Gray 2016, arXiv 1509.09308, §4.1. On a processor whose bfloat16 products fill its time it takes some two thirds
of the direct convolution's, from 256 channels on; below, writing the transformed tiles costs what the products save.
They are rounded once more than the direct one's: an error of -43 dB instead of -55.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from orchestrion.devices import cpu_flags, has_fast_bfloat16

WORTH = 256  # channels


class Winograd(nn.Module):
    """The same as `conv`, for use without gradients. `[b c h w]` -> `[b o h w]`, both channels last in memory."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1) and conv.groups == 1
        self.conv = conv  # for sizes that tiles don't fill
        weight = conv.weight.detach().float()
        turn = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        kernel = torch.einsum("ij,ocjk,lk->ilco", turn, weight, turn).flatten(0, 1)
        bias = weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.register_buffer("kernel", kernel.to(conv.weight.dtype).contiguous(), persistent=False)
        self.register_buffer("bias", bias.to(conv.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        if h % 2 or w % 2:
            return self.conv(x)
        padded, tall, wide = pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)), h // 2, w // 2
        tiles = x.new_empty(4, 4, b, tall, wide, c)
        for row, lines in enumerate(_transformed(_quarters(padded, 1, tall))):
            _transformed(_quarters(lines, 2, wide), tiles[row])
        products = torch.bmm(tiles.view(16, -1, c), self.kernel).view(4, 4, b, tall, wide, -1)
        made = x.new_empty(b, tall, 2, wide, 2, products.shape[-1])
        for row, lines in enumerate(_gathered(*products)):
            for column, pixels in enumerate(_gathered(*lines)):
                torch.add(pixels, self.bias, out=made[:, :, row, :, column])
        return made.view(b, h, w, -1).permute(0, 3, 1, 2)


def _quarters(x: Tensor, axis: int, tiles: int) -> tuple[Tensor, ...]:
    """Places 0, 1, 2 and 3 of each tile along an axis; tiles begin every 2."""
    even, odd = ((x[:, first::2] if axis == 1 else x[:, :, first::2]) for first in (0, 1))
    return tuple(half.narrow(axis, start, tiles) for start in (0, 1) for half in (even, odd))


def _transformed(places: tuple[Tensor, ...], out: Tensor | None = None) -> tuple[Tensor, ...]:
    (a, b, c, d), into = places, (None,) * 4 if out is None else out
    return (torch.sub(a, c, out=into[0]), torch.add(b, c, out=into[1]), torch.sub(c, b, out=into[2]),
            torch.sub(b, d, out=into[3]))


def _gathered(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    return (a + b).add_(c), (b - c).sub_(d)


def quicker(net: nn.Module) -> nn.Module:
    """The network, its wide 3x3 convolutions in bfloat16 exchanged, where this processor gains by it: not one with AMX,
    whose products are quicker than the transforms around them."""
    if not has_fast_bfloat16() or "amx_bf16" in cpu_flags():
        return net
    for name, part in net.named_children():
        if isinstance(part, nn.Conv2d):
            if (part.weight.dtype == torch.bfloat16 and part.weight.device.type == "cpu" and part.groups == 1
                    and part.kernel_size == (3, 3) and part.stride == (1, 1) and part.padding == (1, 1)
                    and min(part.in_channels, part.out_channels) >= WORTH):
                setattr(net, name, Winograd(part))
        else:
            quicker(part)
    return net
