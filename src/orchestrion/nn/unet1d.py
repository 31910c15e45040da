"""A one-dimensional U-Net that knows how noisy its input is: Moûsai's (Schneider et al. 2023, arXiv 2301.11757).

The same function as UNetV0 of audio-diffusion-pytorch 0.1.3 (components.py; its parts in a-unet's apex.py and
blocks.py), so that its weights fit. Each level wraps the next:

    x ── down ── items ── next level ── items ── up ──► y          out = skip(x) + scale(time)·y

Inside, time is the last axis of `[b c 1 n]` in channels-last memory: convolutions are then fast in bfloat16, and
norms and attention see `[b n c]` without a copy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.errors import UserError
from orchestrion.nn import half


class UNet1dConfig(Config):
    """A number for each level, outermost first. Attentions may be left out."""

    from_zero = frozenset({"attentions", "cross_attentions", "features"})

    channels: tuple[int, ...]
    factors: tuple[int, ...]  # of down-sampling on entering the level
    items: tuple[int, ...]  # repetitions on the way down, and again on the way up
    attentions: tuple[int, ...] = ()  # 1: attention in each item
    cross_attentions: tuple[int, ...] = ()  # 1: attention to the embedding in each item
    heads: int = 8
    head_width: int = 64
    features: int = 1024  # of the time, which modulate items and skips; 0: the net is told no time
    groups: int = 8  # of the group norms

    @property
    def multiple_of(self) -> int:
        """Samples: the input's length is a multiple of it."""
        return math.prod(self.factors)

    def level(self, depth: int) -> "LevelConfig":
        """Raises UserError where a list has another length than `channels`."""
        for name in ("factors", "items", "attentions", "cross_attentions"):
            numbers = getattr(self, name)
            if len(numbers) != len(self.channels) and not (name.endswith("attentions") and not numbers):
                raise UserError(f"a U-Net of {len(self.channels)} levels needs as many {name}, got {len(numbers)}")
        return LevelConfig(self.channels[depth], self.factors[depth], self.items[depth],
                           bool(self.attentions and self.attentions[depth]),
                           bool(self.cross_attentions and self.cross_attentions[depth]))


@dataclass(frozen=True)
class LevelConfig:
    channels: int
    factor: int
    items: int
    attention: bool
    cross_attention: bool


@dataclass(frozen=True)
class Given:
    """What every level is told beside x: features `[b m]` of the time, embedding `[b l e]` with mask `[b l]`, and
    by depth the channels `[b d n]` to inject."""

    features: Tensor | None
    embedding: Tensor | None
    mask: Tensor | None
    channels: Mapping[int, Tensor]

    def half(self) -> "Given":
        """In bfloat16."""
        features, embedding = (x if x is None else x.bfloat16() for x in (self.features, self.embedding))
        return Given(features, embedding, self.mask, {depth: x.bfloat16() for depth, x in self.channels.items()})


class UNet1d(nn.Module):
    """`[b c n]` at times `[b]` -> `[b out n]`, n a multiple of `config.multiple_of`.

    inputs, outputs: channels. embedding: width e of what the cross-attentions attend to. injected: by depth, how
    many channels are injected there, at that level's rate. nulls: length of the learned embedding that stands in
    for a dropped prompt (a-unet's ClassifierFreeGuidancePlugin); 0: none.
    """

    def __init__(self, config: UNet1dConfig, inputs: int, outputs: int, embedding: int = 0,
                 injected: Mapping[int, int] | None = None, nulls: int = 0) -> None:
        super().__init__()
        if any(config.cross_attentions) and not embedding:
            raise UserError("this U-Net has cross-attentions and so needs a conditioner that fills the sequence")
        self.config, self.width = config, embedding
        self.time = TimeFeatures(config.features) if config.features else None
        self.null = nn.Parameter(torch.randn(nulls, embedding)) if nulls else None
        inner: Level | None = None
        for depth in reversed(range(len(config.channels))):
            outer_in = config.channels[depth - 1] if depth else inputs
            outer_out = config.channels[depth - 1] if depth else outputs
            inner = Level(config, depth, outer_in, outer_out, embedding, (injected or {}).get(depth, 0), inner)
        assert inner is not None
        self.level = inner
        self._half = half.HalfCopy()

    def forward(self, x: Tensor, time: Tensor | None = None, embedding: Tensor | None = None,
                mask: Tensor | None = None, channels: Mapping[int, Tensor] | None = None) -> Tensor:
        """embedding `[b l e]`, of which mask `[b l]` tells what counts; None: no prompt. channels: by depth, at that
        level's rate, `[b d n/factors]`."""
        features = None
        if self.time is not None:
            assert time is not None, "this U-Net is told the time"
            features = self.time(time)
        if embedding is None and self.width:
            nothing = x.new_zeros(1, self.width) if self.null is None else self.null
            embedding = nothing.expand(len(x), -1, -1)
        given = Given(features, embedding, mask, channels or {})
        if not half.wanted(x):
            return self.level(frames(x), given).squeeze(2)
        with torch.autocast(x.device.type, enabled=False):
            return self._half.of(self.level)(frames(x.bfloat16()), given.half()).squeeze(2)

    def without_prompt(self, embedding: Tensor, dropped: Tensor) -> Tensor:
        """`[b l e]` with the learned null embedding in the rows that `dropped` `[b]` marks."""
        assert self.null is not None
        length = embedding.shape[1]
        if length > len(self.null):
            raise UserError(f"this U-Net takes prompts of at most {len(self.null)} tokens, got {length}")
        return torch.where(dropped[:, None, None], self.null[:length].to(embedding.dtype), embedding)


class Level(nn.Module):
    """`[b outer_in 1 n]` -> `[b outer_out 1 n]`: down, items, the level within, items, up, and the skip around."""

    def __init__(self, config: UNet1dConfig, depth: int, outer_in: int, outer_out: int, embedding: int,
                 injected: int, inner: "Level | None") -> None:
        super().__init__()
        own, self.depth = config.level(depth), depth

        def items() -> nn.ModuleList:
            return nn.ModuleList(Item(config, own, embedding, injected) for _ in range(own.items))

        self.adapt = Conv(outer_in, outer_out, 1) if outer_in != outer_out else nn.Identity()
        self.down = Conv(outer_in, own.channels, own.factor, stride=own.factor)
        self.before = items()
        self.inner = inner
        self.after = items()
        self.up = Upsample(own.channels, outer_out, own.factor)
        self.merge = ScaledSkip(outer_out, config.features) if config.features else JoinedSkip(outer_out)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        channels = given.channels.get(self.depth)
        injected = None if channels is None else frames(channels)
        y = self.down(x)
        for item in self.before:
            y = item(y, injected, given)
        if self.inner is not None:
            y = self.inner(y, given)
        for item in self.after:
            y = item(y, injected, given)
        return self.merge(self.adapt(x), self.up(y), given.features)


class Item(nn.Module):
    """What a level repeats: convolutions, the time's modulation, injected channels, attentions. `[b c 1 n]`."""

    def __init__(self, config: UNet1dConfig, own: LevelConfig, embedding: int, injected: int) -> None:
        super().__init__()
        width, mid = own.channels, config.heads * config.head_width
        self.convolve = Resnet(width, config.groups)
        self.modulate = Modulation(width, config.features) if config.features else None
        self.inject = Conv(width + injected, width, 1) if injected else None
        self.attend = Attention(width, width, mid, config.heads) if own.attention else None
        self.listen = Attention(width, embedding, mid, config.heads) if own.cross_attention else None

    def forward(self, x: Tensor, injected: Tensor | None, given: Given) -> Tensor:
        x = self.convolve(x)
        if self.modulate is not None:
            x = self.modulate(x, given.features)
        if self.inject is not None:
            assert injected is not None, "this level is given channels"
            x = x + self.inject(torch.cat([x, injected.to(x.dtype)], 1))
        if self.attend is not None:
            x = self.attend(x, tokens(x), None)
        if self.listen is not None:
            assert given.embedding is not None, "this U-Net listens to an embedding"
            x = self.listen(x, given.embedding, given.mask)
        return x


class Conv(nn.Conv2d):
    """A convolution over the last axis of `[b c 1 n]`; an odd kernel keeps the length, an even one is its stride."""

    def __init__(self, inputs: int, outputs: int, taps: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, (1, taps), (1, stride), (0, taps // 2 if stride == 1 else 0))


class Upsample(Conv):
    """Each frame `factor` times, then a convolution of 3 taps.

    Where frames outnumber channels, as one convolution at the lower rate, so that nothing is repeated in memory: of
    the frames made from one, the first also hears the one before, the last the one behind.
    """

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__(inputs, outputs, 3)
        self.factor = factor
        self.register_buffer("shares", _shares(factor), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return super().forward(x)
        if x.shape[-1] < max(self.weight.shape):
            return super().forward(x.repeat_interleave(self.factor, -1))
        kernel = torch.einsum("oixt,ptd->poixd", self.weight, self.shares.to(self.weight.dtype)).flatten(0, 1)
        bias = None if self.bias is None else self.bias.repeat(self.factor)
        y = nn.functional.conv2d(x, kernel, bias, padding=(0, 1))
        return untokens(tokens(y).reshape(len(y), -1, self.out_channels))


def _shares(factor: int) -> Tensor:
    """`[factor 3 3]`: which of the lower rate's 3 taps each of the 3 taps falls on, for each frame made from one."""
    shares = torch.zeros(factor, 3, 3)
    for place in range(factor):
        for tap in range(3):
            shares[place, tap, (place + tap - 1) // factor + 1] = 1
    return shares


class Resnet(nn.Module):
    """x + convolutions of x, each after group norm and SiLU."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, width), Conv(width, width, 3)
        self.norm2, self.conv2 = nn.GroupNorm(groups, width), Conv(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(nn.functional.silu(self.norm1(x)))
        return x + self.conv2(nn.functional.silu(self.norm2(y)))


class Modulation(nn.Module):
    """Layer norm over channels, then scaled and shifted by the features (no residual path)."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.scale_shift = nn.Linear(features, 2 * width)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        scale, shift = self.scale_shift(nn.functional.silu(features))[:, None].to(x.dtype).chunk(2, -1)
        y = tokens(x)
        if len(scale) == 1:  # one for all: the norm's own affine map, one pass over memory
            return untokens(nn.functional.layer_norm(y, y.shape[-1:], 1 + scale[0, 0], shift[0, 0], eps=1e-6))
        return untokens(torch.addcmul(shift, nn.functional.layer_norm(y, y.shape[-1:], eps=1e-6), 1 + scale))


class Attention(nn.Module):
    """x + attention of x's frames to a context: x's own, or an embedding's tokens."""

    def __init__(self, width: int, context: int, mid: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_context = nn.LayerNorm(width), nn.LayerNorm(context)
        self.query = nn.Linear(width, mid, bias=False)
        self.key_value = nn.Linear(context, 2 * mid, bias=False)
        self.leave = nn.Linear(mid, width, bias=False)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """x `[b c 1 n]`, context `[b l e]`, mask `[b l]`."""
        q = rearrange(self.query(self.norm(tokens(x))), "b n (h d) -> b h n d", h=self.heads)
        k, v = rearrange(self.key_value(self.norm_context(context)), "b l (s h d) -> s b h l d", s=2, h=self.heads)
        heard = None if mask is None else mask[:, None, None]
        y = nn.functional.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), heard)
        return x + untokens(self.leave(rearrange(y, "b h n d -> b n (h d)")))


class ScaledSkip(nn.Module):
    """skip + scale(features)·y."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.scale = nn.Linear(features, width)

    def forward(self, skip: Tensor, y: Tensor, features: Tensor) -> Tensor:
        scale = self.scale(nn.functional.silu(features))[:, :, None, None].to(y.dtype)
        return torch.addcmul(skip.to(y.dtype), scale, y)


class JoinedSkip(Conv):
    """Of a net that isn't told the time: skip / √2 and y side by side, mixed."""

    def __init__(self, width: int) -> None:
        super().__init__(2 * width, width, 1)

    def forward(self, skip: Tensor, y: Tensor, features: None = None) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([skip.to(y.dtype) * 2**-0.5, y], 1))


class TimeFeatures(nn.Module):
    """Times `[b]` in 0 to 1 -> `[b width]`: learned frequencies, then one layer applied twice (as theirs is)."""

    def __init__(self, width: int, frequencies: int = 128) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(frequencies))
        self.enter = nn.Linear(2 * frequencies + 1, width)
        self.again = nn.Linear(width, width)

    def forward(self, time: Tensor) -> Tensor:
        angles = 2 * math.pi * time.float()[:, None] * self.frequencies
        y = nn.functional.gelu(self.enter(torch.cat([time.float()[:, None], angles.sin(), angles.cos()], 1)))
        for _ in range(2):
            y = nn.functional.gelu(self.again(y))
        return y


class LearnedTransform(nn.Module):
    """A U-Net within a learned filter bank: window and stride in samples, `filters` for each channel
    (audio-diffusion-pytorch's LTPlugin). `[b c t]` -> `[b out t]`."""

    def __init__(self, config: UNet1dConfig, inputs: int, outputs: int, filters: int, window: int, stride: int,
                 injected: Mapping[int, int] | None = None) -> None:
        super().__init__()
        pad = window // 2 - stride // 2
        self.encode = nn.Conv1d(inputs, filters * inputs, window, stride, pad, padding_mode="reflect", bias=False)
        self.decode = nn.ConvTranspose1d(filters * outputs, outputs, window, stride, pad, bias=False)
        self.net = UNet1d(config, filters * inputs, filters * outputs, injected=injected)

    def forward(self, x: Tensor, time: Tensor | None = None, embedding: Tensor | None = None,
                mask: Tensor | None = None, channels: Mapping[int, Tensor] | None = None) -> Tensor:
        return self.decode(self.net(self.encode(x), time, embedding, mask, channels))


def frames(x: Tensor) -> Tensor:
    """`[b c n]` -> `[b c 1 n]`, channels last in memory."""
    return x[:, :, None].contiguous(memory_format=torch.channels_last)


def tokens(x: Tensor) -> Tensor:
    """`[b c 1 n]` -> `[b n c]`, the same memory."""
    return x.squeeze(2).mT


def untokens(x: Tensor) -> Tensor:
    """`[b n c]` -> `[b c 1 n]`, the same memory."""
    return x.mT[:, :, None]
