"""The 2-D U-Net of image diffusion, over images of frequency by time, with diffusers' names for its weights.

    x ── conv ─► [residual, attention]·n ─► ÷2 … middle … ×2 ─► [residual with skip, attention]·n ── norm, conv ─►

UNet2DModel's layout (self-attention), and UNet2DConditionModel's where `cross` is given (transformers that also
look at a prompt). With `vector` the prompt's vector stands beside the time in every residual block (AudioLDM's FiLM:
diffusers' class embedding, concatenated). Weights of all load by name, so published pipelines need no diffusers. In use
it runs in bfloat16 with channels last where that is asked for: three times the speed on a CPU that multiplies bfloat16.
"""

import copy
import math

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.contracts import Conditioner, Conditioning, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.denoiser import Denoiser, DenoiserConfig
from orchestrion.nn.winograd import quicker

HALF = torch.bfloat16
WORTH_MERGING = 256  # pixels: for fewer, merging a doubling with its convolution costs more than it saves


class UNet2dConfig(DenoiserConfig):
    from_zero = frozenset({"padding"})

    channels: tuple[int, ...] = (128, 128, 256, 256, 512, 512)  # a level each, halving the image between them
    attention: tuple[bool, ...] = (False, False, False, False, True, False)  # at which levels
    layers: int = 2  # residual blocks a level
    head_width: int = 8  # channels of an attention head; of transformers, the number of heads (as diffusers has it)
    groups: int = 32  # of the group norms
    padding: int = 1  # of the down-sampling convolutions: 1 all round, 0 below and to the right only
    cross: int | None = None  # width of the prompt's tokens
    vector: bool = False  # the prompt's vector steers every residual block
    twice: bool = False  # transformers without a prompt, which look at the image twice (as AudioLDM's do)
    clock: float = 1000.0  # the network is told clock·time - 1: a step's number
    patch: int = 1  # pixels: squares of so many are folded into channels before the first level, a quarter of the work

    def build(self, space: Continuous, conditioner: Conditioner | None) -> "UNet2d":
        if space.bands is None:
            raise UserError(f"a 2-D U-Net models images [b d f n]; this codec makes {space}")
        multiple = self.patch * 2 ** (len(self.channels) - 1)
        if space.bands % multiple:
            raise UserError(f"a U-Net of {len(self.channels)} levels needs bands that are a multiple of {multiple}, "
                            f"got {space.bands}")
        if self.vector and (conditioner is None or "vector" not in conditioner.fills):
            raise UserError("this U-Net is steered by a vector: the system needs a conditioner that makes one, such as "
                            "a CLAP")
        return UNet2d(self, space.channels, conditioner.width if conditioner and self.vector else None)


class UNet2d(Denoiser):
    """x `[b d f n]`, time `[b]` in 0 to 1, of conditioning the sequence `[b l e]` (with `cross`) and the vector
    `[b e]` (with `vector`) -> `[b d f n]`."""

    def __init__(self, config: UNet2dConfig, image_channels: int, vector: int | None = None) -> None:
        """vector: the width of the prompt's."""
        super().__init__()
        self.config, self.vector = config, vector
        if len(config.attention) != len(config.channels):
            raise UserError("the U-Net's attention wants one yes or no for each of its "
                            f"{len(config.channels)} levels, got {len(config.attention)}")
        self.multiple_of = config.patch * 2 ** (len(config.channels) - 1)
        if config.cross and config.twice:
            raise UserError("a U-Net's transformers look at a prompt (cross) or at the image twice: choose one")
        slots = {"sequence": config.cross, "vector": vector}
        self.accepts = frozenset(slot for slot, width in slots.items() if width)
        first, embedding = config.channels[0], 4 * config.channels[0]
        folded = image_channels * config.patch**2
        self.conv_in = nn.Conv2d(folded, first, 3, padding=1)
        self.time_embedding = TimeEmbedding(first, embedding)
        self.class_embedding = nn.Linear(vector, embedding) if vector else None
        embedding *= 2 if vector else 1
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        levels = list(zip(config.channels, config.attention))
        skips, width = [first], first
        for i, (channels, attends) in enumerate(levels):
            last = i == len(levels) - 1
            self.down_blocks.append(DownBlock(width, channels, embedding, config, attends, not last))
            width = channels
            skips += [width] * (config.layers + (not last))
        self.mid_block = MidBlock(width, embedding, config)
        for i, (channels, attends) in reversed(list(enumerate(levels))):
            taken = [skips.pop() for _ in range(config.layers + 1)]
            self.up_blocks.append(UpBlock(width, channels, taken, embedding, config, attends, i > 0))
            width = channels
        self.conv_norm_out = nn.GroupNorm(config.groups, first, eps=1e-5)
        self.conv_out = nn.Conv2d(first, folded, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        if self.conv_in.weight.dtype == HALF:  # all of it is: autocast would take parts back to float32
            with torch.autocast(x.device.type, enabled=False):
                return self._forward(x, time, conditioning)
        return self._forward(x, time, conditioning)

    def _forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        kind = self.conv_in.weight.dtype
        told = sinusoids(time * self.config.clock - 1, self.config.channels[0]).to(kind)
        signal = self.time_embedding(told)
        if self.class_embedding is not None:
            signal = torch.cat([signal, self.class_embedding(self._vector(conditioning, signal))], -1)
        signal = nn.functional.silu(signal)
        sequence = conditioning.sequence.to(kind) if conditioning.sequence is not None else None
        if self.config.cross and sequence is None:  # nothing is asked for
            sequence = signal.new_zeros(len(x), 1, self.config.cross)
        if self.config.patch > 1:
            x = nn.functional.pixel_unshuffle(x, self.config.patch)
        x = self.conv_in(x.to(kind, memory_format=torch.channels_last))
        skips = [x]
        for block in self.down_blocks:
            x = block(x, signal, sequence, skips)
        x = self.mid_block(x, signal, sequence)
        for block in self.up_blocks:
            x = block(x, signal, sequence, skips)
        x = self.conv_out(normed(self.conv_norm_out, x)).contiguous()
        return nn.functional.pixel_shuffle(x, self.config.patch) if self.config.patch > 1 else x

    def _vector(self, conditioning: Conditioning, like: Tensor) -> Tensor:
        """The prompts' vectors `[b e]`, or zeros where nothing is asked for."""
        if conditioning.vector is None:
            return like.new_zeros(len(like), self.vector or 0)
        return conditioning.vector.to(like)

    def prepared(self) -> "UNet2d":
        """A copy for many steps without gradients: weights laid out as the images are, doublings merged with the
        convolutions that follow them, in bfloat16 where autocast asks for it (which would cast all at every step), wide
        convolutions by fewer products."""
        if torch.is_grad_enabled():
            return self
        kind = HALF if torch.is_autocast_enabled(self.conv_in.weight.device.type) else self.conv_in.weight.dtype
        made = copy.deepcopy(self).to(kind)
        for part in made.modules():
            if isinstance(part, Upsample):
                part.kernel = doubling_kernel(part.conv.weight)
        return quicker(made.to(memory_format=torch.channels_last))  # type: ignore[call-overload, return-value]


class TimeEmbedding(nn.Module):
    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width, embedding), nn.Linear(embedding, embedding)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(nn.functional.silu(self.linear_1(x)))


class DownBlock(nn.Module):
    """Residual blocks, each followed by attention where the level attends, then ÷2; every result is a skip."""

    def __init__(self, inputs: int, width: int, embedding: int, config: UNet2dConfig, attends: bool,
                 down: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            Resnet(inputs if i == 0 else width, width, embedding, config.groups) for i in range(config.layers))
        self.attentions = nn.ModuleList(attention(width, config) for _ in range(config.layers) if attends)
        self.downsamplers = nn.ModuleList([Downsample(width, config.padding)] if down else [])

    def forward(self, x: Tensor, signal: Tensor, sequence: Tensor | None, skips: list[Tensor]) -> Tensor:
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, signal)
            if self.attentions:
                x = self.attentions[i](x, sequence)
            skips.append(x)
        for down in self.downsamplers:
            x = down(x)
            skips.append(x)
        return x


class MidBlock(nn.Module):
    def __init__(self, width: int, embedding: int, config: UNet2dConfig) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([attention(width, config)])
        self.resnets = nn.ModuleList(Resnet(width, width, embedding, config.groups) for _ in range(2))

    def forward(self, x: Tensor, signal: Tensor, sequence: Tensor | None) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, signal), sequence), signal)


class UpBlock(nn.Module):
    """Residual blocks that also take the skips from the way down, the last ones first; then ×2."""

    def __init__(self, inputs: int, width: int, skips: list[int], embedding: int, config: UNet2dConfig,
                 attends: bool, up: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            Resnet((inputs if i == 0 else width) + skip, width, embedding, config.groups)
            for i, skip in enumerate(skips))
        self.attentions = nn.ModuleList(attention(width, config) for _ in skips if attends)
        self.upsamplers = nn.ModuleList([Upsample(width)] if up else [])

    def forward(self, x: Tensor, signal: Tensor, sequence: Tensor | None, skips: list[Tensor]) -> Tensor:
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], 1), signal)
            if self.attentions:
                x = self.attentions[i](x, sequence)
        for up in self.upsamplers:
            x = up(x)
        return x


class Resnet(nn.Module):
    """[norm, SiLU, conv 3×3] twice, the time's signal added between them; a 1×1 path where widths differ."""

    def __init__(self, inputs: int, width: int, embedding: int | None, groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=eps)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, width) if embedding else None
        self.norm2 = nn.GroupNorm(groups, width, eps=eps)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else None

    def forward(self, x: Tensor, signal: Tensor | None = None) -> Tensor:
        """signal: after its SiLU, `[b embedding]`."""
        made = self.conv1(normed(self.norm1, x))
        if self.time_emb_proj is not None and signal is not None:
            made = add(made, self.time_emb_proj(signal)[..., None, None])
        made = self.conv2(normed(self.norm2, made))
        return add(made, x if self.conv_shortcut is None else self.conv_shortcut(x))


def normed(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    return nn.functional.silu(norm(x), inplace=not torch.is_grad_enabled())


def add(x: Tensor, other: Tensor) -> Tensor:
    """x + other, in x's own memory where no gradient needs it: fresh memory costs more than the sum."""
    return x + other if torch.is_grad_enabled() else x.add_(other)


class Downsample(nn.Module):
    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.padding else nn.functional.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.kernel: Tensor | None
        self.register_buffer("kernel", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x `[b c h w]` -> `[b c 2h 2w]`."""
        kernel = self.kernel
        if kernel is None and not torch.is_grad_enabled() and len(x) * x.shape[-2] * x.shape[-1] >= WORTH_MERGING:
            kernel = doubling_kernel(self.conv.weight)
        if kernel is None:
            return self.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return nn.functional.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)


def doubling_kernel(weight: Tensor) -> Tensor:
    """The kernel `[c o 4 4]` of one transposed convolution that does the same as nearest neighbours ×2, then a
    convolution by `weight` `[o c 3 3]`, for 16 products a pixel instead of 36: of the doubled pixels that the kernel
    sees, two or more are the same, and their weights add up."""
    doubled = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])  # [transposed kernel's row, kernel's row]
    return torch.einsum("ik,jl,ockl->coij", doubled, doubled, weight)


def attention(width: int, config: UNet2dConfig) -> nn.Module:
    if config.cross or config.twice:
        return CrossTransformer(width, config.head_width, config.cross, config.groups)
    return SelfAttention(width, max(width // config.head_width, 1), config.groups)


class SelfAttention(nn.Module):
    """All places of an image `[b c h w]` attend to each other."""

    def __init__(self, width: int, heads: int, groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, eps=eps)
        self.attend = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, sequence: Tensor | None = None) -> Tensor:
        flat = rearrange(self.group_norm(x), "b c h w -> b (h w) c")
        made = self.to_out[0](mixed(self.to_q(flat), self.to_k(flat), self.to_v(flat), self.attend))
        return x + rearrange(made, "b (h w) c -> b c h w", h=x.shape[2])


class CrossTransformer(nn.Module):
    """diffusers' Transformer2DModel with one block: self-attention, attention to the prompt (without `cross`: to the
    image again), a gated perceptron."""

    def __init__(self, width: int, heads: int, cross: int | None, groups: int) -> None:
        super().__init__()
        self.cross = cross
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, heads, cross or width)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, sequence: Tensor | None = None) -> Tensor:
        flat = rearrange(self.proj_in(self.norm(x)), "b c h w -> b (h w) c")
        made = self.transformer_blocks[0](flat, sequence if self.cross else None)
        return x + self.proj_out(rearrange(made, "b (h w) c -> b c h w", h=x.shape[2]).contiguous(
            memory_format=torch.channels_last))


class TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int, cross: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1, self.attn2 = Attention(width, heads, width), Attention(width, heads, cross)
        self.ff = GatedPerceptron(width)

    def forward(self, x: Tensor, sequence: Tensor | None) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        normed = self.norm2(x)
        x = x + self.attn2(normed, normed if sequence is None else sequence)
        return x + self.ff(self.norm3(x))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, seen: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = nn.Linear(seen, width, bias=False), nn.Linear(seen, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        return self.to_out[0](mixed(self.to_q(x), self.to_k(seen), self.to_v(seen), self.heads))


class GatedPerceptron(nn.Module):
    """GEGLU (Shazeer 2020), under diffusers' names: `net.0.proj`, `net.2`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        gate = nn.Module()
        gate.proj = nn.Linear(width, 8 * width)
        self.net = nn.ModuleList([gate, nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.net[0].proj(x).chunk(2, -1)  # type: ignore[union-attr, operator]
        return self.net[2](value * nn.functional.gelu(gate))


def mixed(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of `[b l c]`, in `heads` parts."""
    q, k, v = (rearrange(x, "b l (h c) -> b h l c", h=heads) for x in (q, k, v))
    return rearrange(nn.functional.scaled_dot_product_attention(q, k, v), "b h l c -> b l (h c)")


def sinusoids(steps: Tensor, width: int) -> Tensor:
    """`[b]` -> cosines, then sines, of geometric frequencies 1 … 1e-4 `[b width]` (Vaswani et al. 2017)."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=steps.device) / half)
    angles = steps.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], -1)
