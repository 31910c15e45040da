"""HiFi-GAN's generator: mel images to waveforms by transposed convolutions, each followed by blocks that look near and
far at once (Kong et al. 2020, arXiv 2010.05646, §2.2).

    image ── conv ── [×rate ── mean of residual blocks of several kernels]… ── conv, tanh ──► samples

Weights have the names of transformers' SpeechT5HifiGan, so those that AudioLDM's pipelines bring load by name. The
authors train with weight norm; here weights are plain, as those that they publish are once it is folded in.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from orchestrion.config import Config
from orchestrion.errors import UserError


class HifiGanNetConfig(Config):
    """The authors' V1 but for the rates, which are to multiply to the hop of the mel image."""

    channels: int = 512  # before the first of the rates; each halves them
    rates: tuple[int, ...] = (8, 8, 2, 2)
    kernels: tuple[int, ...] = (16, 16, 4, 4)  # of the transposed convolutions
    blocks: tuple[int, ...] = (3, 7, 11)  # kernels of the residual blocks, side by side
    dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    pairs: bool = True  # each dilated convolution is followed by another (their block 1; block 2 has none)
    slope: float = 0.1  # of the leaky rectifiers
    standardised: bool = False  # the image is shifted and scaled first, by figures among the weights

    def __post_init__(self) -> None:
        """Raises UserError where the figures don't belong together."""
        super().__post_init__()
        if len(self.rates) != len(self.kernels) or len(self.blocks) != len(self.dilations):
            raise UserError("HiFi-GAN wants one kernel for each rate and dilations for each block; got "
                            f"{len(self.rates)} rates, {len(self.kernels)} kernels, {len(self.blocks)} blocks and "
                            f"dilations for {len(self.dilations)}")
        if any(kernel < rate for rate, kernel in zip(self.rates, self.kernels)):
            raise UserError(f"HiFi-GAN's kernels {self.kernels} must be at least as long as its rates {self.rates}")
        if self.channels % 2 ** len(self.rates):
            raise UserError(f"HiFi-GAN halves its channels {len(self.rates)} times, which {self.channels} can't be")

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.rates)

    @property
    def context(self) -> int:
        """Frames on either side that a sample depends on, at most."""
        reach, rate = 3.0, 1.0  # the first convolution, in frames
        for step, kernel in zip(self.rates, self.kernels):
            reach += kernel / step / rate
            rate *= step
            widest = max((kernel - 1) // 2 * sum(d + (1 if self.pairs else 0) for d in dilations)
                         for kernel, dilations in zip(self.blocks, self.dilations))
            reach += widest / rate
        return math.ceil(reach + 3 / rate)

    def build(self, bands: int) -> "HifiGanNet":
        return HifiGanNet(self, bands)


class HifiGanNet(nn.Module):
    """image `[b f n]` -> samples `[b 1 n·hop]` within ± 1."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: HifiGanNetConfig, bands: int) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        self.conv_pre = Convolution(bands, width, 7, padding=3)
        self.upsampler, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.rates, config.kernels):
            self.upsampler.append(Transposed(width, width // 2, kernel, rate, (kernel - rate) // 2))
            width //= 2
            self.resblocks.extend(ResidualBlock(width, taps, dilations, config.slope, config.pairs)
                                  for taps, dilations in zip(config.blocks, config.dilations))
        self.conv_post = Convolution(width, 1, 7, padding=3)
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("scale", torch.ones(bands))

    def forward(self, image: Tensor) -> Tensor:
        if self.config.standardised:
            image = (image - self.mean[:, None]) / self.scale[:, None]
        x = image[:, :, None].contiguous(memory_format=torch.channels_last)  # [b f 1 n]
        x, side_by_side = self.conv_pre(x), len(self.config.blocks)
        for i, up in enumerate(self.upsampler):
            x = up(leaky_relu(x, self.config.slope))
            made = self.resblocks[i * side_by_side](x)
            for block in self.resblocks[i * side_by_side + 1 : (i + 1) * side_by_side]:
                made = made + block(x)
            x = made / side_by_side
        # where kernel - rate is odd, the transposed convolutions give a few samples more
        return torch.tanh(self.conv_post(leaky_relu(x)))[:, :, 0, : image.shape[-1] * self.config.hop]


class ResidualBlock(nn.Module):
    def __init__(self, width: int, taps: int, dilations: tuple[int, ...], slope: float, pairs: bool) -> None:
        super().__init__()
        self.slope = slope
        self.convs1 = nn.ModuleList(Convolution(width, width, taps, dilation=d, padding=(taps - 1) * d // 2)
                                    for d in dilations)
        self.convs2 = nn.ModuleList(Convolution(width, width, taps, padding=(taps - 1) // 2)
                                    for _ in dilations if pairs)

    def forward(self, x: Tensor) -> Tensor:
        for i, far in enumerate(self.convs1):
            made = far(leaky_relu(x, self.slope))
            if self.convs2:
                made = self.convs2[i](leaky_relu(made, self.slope))
            x = x + made
        return x


class Convolution(nn.Conv1d):
    """`[b c 1 n]`, channels last: as an image of one row a signal of few channels is convolved three times as fast."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight[:, :, None], self.bias, padding=(0, int(self.padding[0])),
                                    dilation=(1, self.dilation[0]))


class Transposed(nn.ConvTranspose1d):
    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return nn.functional.conv_transpose2d(x, self.weight[:, :, None], self.bias, (1, self.stride[0]),
                                              (0, int(self.padding[0])))
