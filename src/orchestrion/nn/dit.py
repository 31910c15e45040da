"""A transformer over time that knows how noisy its input is (DiT: Peebles & Xie 2022, arXiv 2212.09748).

One modulation for all blocks, each with an offset of its own (PixArt-α: Chen et al. 2023, arXiv 2310.00426);
rotary positions (Su et al. 2021), so that longer pieces than those trained on are no new input.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn


class DiT(nn.Module):
    """`[b n d]`, time `[b]` in 0 to 1, vector `[b e]` or None -> `[b n out]`."""

    def __init__(self, features: int, out: int, width: int, depth: int, heads: int, vector: int = 0) -> None:
        super().__init__()
        self.enter = nn.Linear(features, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.vector = nn.Linear(vector, width) if vector else None
        modulation = nn.Linear(width, 6 * width)
        self.modulate = nn.Sequential(nn.SiLU(), modulation)
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.leave = nn.Linear(width, out)
        self.head_width = width // heads
        for linear in (modulation, self.leave):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, time: Tensor, vector: Tensor | None = None) -> Tensor:
        signal = self.time(fourier(time, 256).to(x.dtype))
        if self.vector is not None and vector is not None:
            signal = signal + self.vector(vector)
        modulation = rearrange(self.modulate(signal), "b (m d) -> b m 1 d", m=6)
        turns = rotary(x.shape[1], self.head_width, x.device)
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, modulation, turns)
        return self.leave(self.norm(x))


class DiTBlock(nn.Module):
    """Self-attention, then a perceptron, each shifted, scaled and gated by the modulation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.offset = nn.Parameter(torch.zeros(6, 1, width))
        with torch.no_grad():
            self.offset[2::3] = 1e-2  # gates: nearly closed at first
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attend = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, modulation: Tensor, turns: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offset).unbind(1)
        y = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = rearrange(self.attend(y), "b n (s h d) -> s b h n d", s=3, h=self.heads)
        y = nn.functional.scaled_dot_product_attention(rotate(q, turns), rotate(k, turns), v)
        x = x + gate1 * self.merge(rearrange(y, "b h n d -> b n (h d)"))
        y = self.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * self.contract(nn.functional.gelu(self.expand(y), approximate="tanh"))


def fourier(time: Tensor, width: int) -> Tensor:
    """Time `[b]` in 0 to 1 -> cosines and sines `[b width]` of geometric frequencies up to 1000 / 2π turns."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), width // 2, device=time.device))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def rotary(length: int, width: int, device: torch.device) -> Tensor:
    """cos and sin `[2 n width/2]` of the positions 0 to length - 1."""
    rates = 10_000 ** -torch.linspace(0, 1, width // 2 + 1, device=device)[:-1]
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """`[b h n width]`, each pair of channels turned by its position."""
    cos, sin = turns.to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
