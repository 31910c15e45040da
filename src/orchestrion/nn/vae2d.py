"""A variational autoencoder of images, with the layout and the names of diffusers' AutoencoderKL.

    image ── conv, [residual]·n ÷2 …, middle ──► mean, log variance ── z ── middle, [residual]·n ×2 …, conv ──► image
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.nn.unet2d import Downsample, Resnet, SelfAttention, Upsample, normed

EPS = 1e-6  # of the norms


class Vae2dConfig(Config):
    channels: tuple[int, ...] = (128, 256, 512, 512)  # a level each, halving the image between them
    layers: int = 2  # residual blocks a level; one more on the way back
    latents: int = 1
    groups: int = 32  # of the group norms
    scaling: float = 0.18215  # latents are multiplied by it, so that generators see about unit variance

    def build(self, image_channels: int) -> "Vae2d":
        return Vae2d(self, image_channels)


class Posterior(NamedTuple):
    """mean and log variance `[b z f n]`, unscaled."""

    mean: Tensor
    log_variance: Tensor

    def sample(self) -> Tensor:
        return self.mean + (0.5 * self.log_variance).exp() * torch.randn_like(self.mean)

    def divergence(self) -> Tensor:
        """KL divergence from N(0, 1), mean over clips, sum over the rest (Kingma & Welling 2013, appendix B)."""
        kl = 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)
        return kl.flatten(1).sum(1).mean()


class Vae2d(nn.Module):
    def __init__(self, config: Vae2dConfig, image_channels: int) -> None:
        super().__init__()
        self.config, self.stride = config, 2 ** (len(config.channels) - 1)
        self.encoder, self.decoder = Encoder(config, image_channels), Decoder(config, image_channels)
        self.quant_conv = nn.Conv2d(2 * config.latents, 2 * config.latents, 1)
        self.post_quant_conv = nn.Conv2d(config.latents, config.latents, 1)

    def encode(self, image: Tensor) -> Posterior:
        """`[b c f n]`, f and n multiples of `stride` -> the posterior of z."""
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, 1)
        return Posterior(mean, log_variance.clamp(-30, 20))

    def decode(self, z: Tensor) -> Tensor:
        """z `[b z f/stride n/stride]`, unscaled -> image `[b c f n]`."""
        return self.decoder(self.post_quant_conv(z))


class Middle(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SelfAttention(width, 1, groups, EPS)])
        self.resnets = nn.ModuleList(Resnet(width, width, None, groups, EPS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Level(nn.Module):
    """Residual blocks, then ÷2 or ×2 or neither."""

    def __init__(self, inputs: int, width: int, layers: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            Resnet(inputs if i == 0 else width, width, None, groups, EPS) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        for scaler in (*getattr(self, "downsamplers", ()), *getattr(self, "upsamplers", ())):
            x = scaler(x)
        return x


class Encoder(nn.Module):
    def __init__(self, config: Vae2dConfig, image_channels: int) -> None:
        super().__init__()
        widths = config.channels
        self.conv_in = nn.Conv2d(image_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = Level(widths[max(i - 1, 0)], width, config.layers, config.groups)
            if i < len(widths) - 1:
                level.downsamplers = nn.ModuleList([Downsample(width, padding=0)])
            self.down_blocks.append(level)
        self.mid_block = Middle(widths[-1], config.groups)
        self.conv_norm_out = nn.GroupNorm(config.groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latents, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(normed(self.conv_norm_out, self.mid_block(x)))


class Decoder(nn.Module):
    def __init__(self, config: Vae2dConfig, image_channels: int) -> None:
        super().__init__()
        widths = config.channels[::-1]
        self.conv_in = nn.Conv2d(config.latents, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], config.groups)
        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = Level(widths[max(i - 1, 0)], width, config.layers + 1, config.groups)
            if i < len(widths) - 1:
                level.upsamplers = nn.ModuleList([Upsample(width)])
            self.up_blocks.append(level)
        self.conv_norm_out = nn.GroupNorm(config.groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], image_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(normed(self.conv_norm_out, x))
