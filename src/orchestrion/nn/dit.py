"""A transformer over time that knows how noisy its input is (DiT: Peebles & Xie 2022, arXiv 2212.09748).

One modulation for all blocks, each with an offset of its own (PixArt-α: Chen et al. 2023, arXiv 2310.00426);
rotary positions (Su et al. 2021), so that longer pieces than those trained on are no new input. A prompt's words are
attended to between self-attention and perceptron, as in PixArt-α; one learned word, "nothing", always stands among
them, so that an empty prompt is an input like any other.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.nn import half


class DiT(nn.Module):
    """`[b n d]`, time `[b]` in 0 to 1, vector `[b e]`, words `[b l e]` with mask `[b l]`, frames `[b n e]` or None
    -> `[b n out]`.

    Of time and vector, `[1 …]` stands for all clips alike. vector, words, frames: their e; 0 where there are none.
    """

    def __init__(self, features: int, out: int, width: int, depth: int, heads: int, vector: int = 0,
                 words: int = 0, frames: int = 0) -> None:
        super().__init__()
        self.enter = nn.Linear(features, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.vector = nn.Linear(vector, width) if vector else None
        modulation = nn.Linear(width, 6 * width)
        self.modulate = nn.Sequential(nn.SiLU(), modulation)
        self.words = nn.Linear(words, width) if words else None
        self.frames = nn.Linear(frames, width, bias=False) if frames else None
        self.nothing = nn.Parameter(0.02 * torch.randn(width)) if words else None
        self.blocks = nn.ModuleList(DiTBlock(width, heads, crossed=words > 0) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.leave = nn.Linear(width, out)
        self.head_width = width // heads
        self._half = half.HalfLayers()
        for linear in (modulation, self.leave):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        if self.frames is not None:
            nn.init.zeros_(self.frames.weight)

    def forward(self, x: Tensor, time: Tensor, vector: Tensor | None = None, words: Tensor | None = None,
                mask: Tensor | None = None, frames: Tensor | None = None) -> Tensor:
        signal = self.time(fourier(time, 256).to(x.dtype))
        if self.vector is not None and vector is not None:
            signal = signal + self.vector(vector)
        modulation = rearrange(self.modulate(signal).float(), "b (m d) -> b m 1 d", m=6)
        x = self.enter(x)
        if self.frames is not None and frames is not None:
            x = x + self.frames(frames.to(x.dtype))
        turns = rotary(x.shape[1], self.head_width, x.device).to(x.dtype)
        words, mask = self.read(words, mask, len(x))
        blocks = self._half.of(self.blocks) if half.wanted(x) else self.blocks
        for block in blocks.children():
            x = block(x, modulation, turns, words, mask)
        return self.leave(self.norm(x))

    def read(self, words: Tensor | None, mask: Tensor | None, batch: int) -> tuple[Tensor | None, Tensor | None]:
        """words `[b l e]` -> `[b 1+l width]` with "nothing" at their head, and which of them count `[b 1 1 1+l]`."""
        if self.words is None or self.nothing is None:
            return None, None
        nothing = self.nothing.expand(batch, 1, -1)
        if words is None:
            return nothing, None
        found = torch.cat([nothing, self.words(words)], 1)
        return found, None if mask is None else nn.functional.pad(mask, (1, 0), value=True)[:, None, None]


class DiTBlock(nn.Module):
    """Self-attention, then a perceptron, each shifted, scaled and gated by the modulation; where it is `crossed`,
    attention to words between them, closed at first."""

    def __init__(self, width: int, heads: int, crossed: bool = False) -> None:
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
        self.cross = CrossAttention(width, heads) if crossed else None

    def forward(self, x: Tensor, modulation: Tensor, turns: Tensor, words: Tensor | None = None,
                mask: Tensor | None = None) -> Tensor:
        """x `[b n d]`, modulation `[b 6 1 d]` or `[1 6 1 d]`, turns of `rotary` -> `[b n d]` in float32."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offset).unbind(1)
        y = attention(self.attend(modulated(x, shift1, scale1)), self.heads, turns)
        x = torch.addcmul(x, gate1, self.merge(y).to(gate1.dtype))
        if self.cross is not None and words is not None:
            x = x + self.cross(x, words, mask)
        # the exact GELU: within 5e-4 of its tanh form, and four times as fast in bf16 on a CPU
        y = self.contract(nn.functional.gelu(self.expand(modulated(x, shift2, scale2))))
        return torch.addcmul(x, gate2, y.to(gate2.dtype))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm over the last axis of `[b n d]`, scaled by 1 + scale, then shifted, `[b 1 d]` each."""
    x = x.to(shift.dtype)
    if len(scale) == 1:  # one for all clips: the norm's own affine map, one pass over memory instead of three
        return nn.functional.layer_norm(x, x.shape[-1:], 1 + scale[0, 0], shift[0, 0], eps=1e-6)
    if len(scale) <= 4 and not torch.is_grad_enabled():  # likewise, clip by clip
        return torch.stack([modulated(x[i : i + 1], shift[i : i + 1], scale[i : i + 1])[0] for i in range(len(x))])
    return torch.addcmul(shift, nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)


def attention(qkv: Tensor, heads: int, turns: Tensor) -> Tensor:
    """Queries, keys and values `[b n 3·d]` side by side -> `[b n d]`, with rotary positions (`rotary`)."""
    b = len(qkv)
    q, k, v = rearrange(qkv, "b n (s h d) -> s b h n d", s=3, h=heads)
    q, k = rotate(torch.stack([q, k]), turns)
    if on_cpu_in_half(qkv):
        scores = torch.bmm(q.flatten(0, 1), k.flatten(0, 1).mT).softmax(-1)
        y = torch.bmm(scores, v.flatten(0, 1)).unflatten(0, (b, heads))
    else:
        y = nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    return rearrange(y, "b h n d -> b n (h d)")


def on_cpu_in_half(x: Tensor) -> bool:
    """Where two matrix products and a softmax are faster than the fused kernel, at the price of `[b h n n]` in
    memory."""
    return x.device.type == "cpu" and x.dtype == torch.bfloat16 and not torch.is_grad_enabled()


class CrossAttention(nn.Module):
    """x `[b n width]`, words `[b l width]`, mask `[b 1 1 l]` -> what the words say to each frame, `[b n width]`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.ask = nn.Linear(width, width)
        self.answer = nn.Linear(width, 2 * width)
        self.merge = nn.Linear(width, width)
        nn.init.zeros_(self.merge.weight)
        nn.init.zeros_(self.merge.bias)

    def forward(self, x: Tensor, words: Tensor, mask: Tensor | None) -> Tensor:
        q = rearrange(self.ask(self.norm(x)), "b n (h d) -> b h n d", h=self.heads)
        k, v = rearrange(self.answer(words), "b l (s h d) -> s b h l d", s=2, h=self.heads)
        if on_cpu_in_half(q):
            scores = torch.bmm(q.flatten(0, 1) * q.shape[-1] ** -0.5, k.flatten(0, 1).mT).unflatten(0, q.shape[:2])
            if mask is not None:
                scores = scores.masked_fill(~mask, -torch.inf)
            y = torch.bmm(scores.softmax(-1).flatten(0, 1), v.flatten(0, 1)).unflatten(0, q.shape[:2])
        else:
            y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.merge(rearrange(y, "b h n d -> b n (h d)"))


def fourier(time: Tensor, width: int) -> Tensor:
    """Time `[b]` in 0 to 1 -> cosines and sines `[b width]` of geometric frequencies up to 1000 / 2π turns."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), width // 2, device=time.device))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def rotary(length: int, width: int, device: torch.device) -> Tensor:
    """cos, and sin with the sign that `rotate` wants, of the positions 0 to length - 1: `[2 2 1 1 n width]`,
    those of queries and of keys; the queries' carry attention's factor 1 / √width."""
    rates = 10_000 ** -torch.linspace(0, 1, width // 2 + 1, device=device)[:-1]
    angles = torch.arange(length, device=device)[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    keys = torch.stack([torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)])
    return torch.stack([keys * width**-0.5, keys], 1)[:, :, None, None]


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """`[2 b h n width]`, each pair of channels, half a width apart, turned by its position."""
    cos, sin = turns
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
