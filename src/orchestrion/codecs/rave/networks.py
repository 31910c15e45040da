"""RAVE's encoders and decoders over band samples `[b c 1 t]`, first and second generation (rave/blocks.py).

All of them are built of streaming layers (`nn.streaming`), none has a bias, as in the reference.
"""

import math

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.nn.streaming import BatchNorm, Chain, Conv, Leaky, Residual, Snake, Streaming, Upsample, join, level


class RaveNoiseConfig(Config):
    """The noise synthesiser: filtered noise in every band."""

    ratios: tuple[int, ...] = (2, 2, 2)  # band samples per filter
    bands: int = 5  # points of each filter's response
    hidden: int = 128


class RaveNetConfig(Config):
    """What stands between the bands and the latents."""

    capacity: int
    ratios: tuple[int, ...]
    noise: RaveNoiseConfig | None

    def encoder(self, inputs: int, outputs: int, groups: int, causal: bool) -> Streaming:
        """`[b inputs 1 t]` -> `[b outputs 1 n]`; the outputs are `groups` sets of latents."""
        raise NotImplementedError

    def decoder(self, latents: int, outputs: int, causal: bool) -> "Decoder":
        raise NotImplementedError


class RaveV1Config(RaveNetConfig):
    capacity: int = 64
    ratios: tuple[int, ...] = (4, 4, 4, 2)
    noise: RaveNoiseConfig | None = RaveNoiseConfig(ratios=(4, 4, 4))

    def encoder(self, inputs: int, outputs: int, groups: int, causal: bool) -> Streaming:
        width = self.capacity
        layers: list[nn.Module] = [Conv(inputs, width, 7, causal, normed=False)]
        for ratio in self.ratios:
            layers += [BatchNorm(width), Leaky(),
                       Conv(width, 2 * width, 2 * ratio + 1, causal, stride=ratio, normed=False)]
            width *= 2
        return Chain(*layers, Leaky(), Conv(width, outputs, 5, causal, groups=groups, normed=False))

    def decoder(self, latents: int, outputs: int, causal: bool) -> "Decoder":
        width = self.capacity * 2 ** len(self.ratios)
        layers: list[nn.Module] = [Conv(latents, width, 7, causal)]
        for ratio in self.ratios:
            layers += [Leaky(), Upsample(width, width // 2, ratio)]
            width //= 2
            layers += [Residual(Chain(Leaky(), Conv(width, width, 3, causal, dilation=dilation),
                                      Leaky(), Conv(width, width, 3, causal))) for dilation in (1, 3, 5)]
        noise = NoiseSynth(self.noise, width, width, outputs, causal) if self.noise else None
        return DecoderV1(Chain(*layers), width, outputs, noise, causal)


class RaveV2Config(RaveNetConfig):
    capacity: int = 96
    ratios: tuple[int, ...] = (4, 4, 4, 2)
    noise: RaveNoiseConfig | None = None
    kernel: int = 3
    dilations: tuple[tuple[int, ...], ...] = ((1, 3, 9), (1, 3, 9), (1, 3, 9), (1, 3))
    snake: bool = False  # v3: periodic activations, but for those within units
    snake_units: bool = False  # and there; the reference means to, but its binding doesn't reach them
    adain: bool = False  # v3: style by the statistics of what is heard

    def encoder(self, inputs: int, outputs: int, groups: int, causal: bool) -> Streaming:
        width = self.capacity
        layers: list[nn.Module] = [Conv(inputs, width, 2 * self.kernel + 1, causal)]
        for ratio, dilations in zip(self.ratios, self.dilations, strict=True):
            for dilation in dilations:
                layers += self._unit(width, dilation, causal)
            layers += [self._activation(width), Conv(width, 2 * width, 2 * ratio, causal, stride=ratio)]
            width *= 2
        return Chain(*layers, self._activation(width), Conv(width, outputs, self.kernel, causal))

    def decoder(self, latents: int, outputs: int, causal: bool) -> "Decoder":
        width = self.capacity * 2 ** len(self.ratios)
        layers: list[nn.Module] = [Conv(latents, width, self.kernel, causal)]
        for ratio, dilations in zip(self.ratios[::-1], self.dilations[::-1], strict=True):
            layers += [self._activation(width), Upsample(width, width // 2, ratio)]
            width //= 2
            for dilation in dilations:
                layers += self._unit(width, dilation, causal)
        noise = None
        if self.noise:
            noise = NoiseSynth(self.noise, width, self.noise.hidden, outputs, causal, second=True, snake=self.snake)
        wave = Conv(width, 2 * outputs, 2 * self.kernel + 1, causal)
        return DecoderV2(Chain(*layers, self._activation(width)), wave, noise)

    def _activation(self, width: int) -> Streaming:
        return Snake(width) if self.snake else Leaky()

    def _unit(self, width: int, dilation: int, causal: bool) -> list[nn.Module]:
        first, second = (Snake(width) if self.snake_units else Leaky() for _ in range(2))
        inner = Chain(first, Conv(width, width, self.kernel, causal, dilation=dilation),
                      second, Conv(width, width, 1, causal))
        return [AdaIN(width), Residual(inner)] if self.adain else [Residual(inner)]


# Decoders


class Decoder(nn.Module):
    """latents `[b d 1 n]` and uniform noise `[b bands 1 t]` -> band samples `[b bands 1 t]`."""

    noisy: bool  # whether the noise is used at all

    def stream(self, z: Tensor, noise: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        raise NotImplementedError


class DecoderV1(Decoder):
    """tanh(wave) × loudness, and noise from the second stage on."""

    awake: Tensor

    def __init__(self, body: Chain, width: int, outputs: int, noise: "NoiseSynth | None", causal: bool) -> None:
        super().__init__()
        self.body = body
        self.wave = Conv(width, outputs, 7, causal)
        self.loudness = Conv(width, 1, 3, causal)
        self.noise = noise
        self.noisy = noise is not None
        self.register_buffer("awake", torch.tensor(0))

    def stream(self, z: Tensor, noise: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        x = self.body.stream(z, past, new, final)
        branches = [self.wave.stream(x, past, new, final), self.loudness.stream(x, past, new, final)]
        if self.noise is not None:
            branches.append(self.noise.stream(x, noise, past, new, final))
        parts = level(branches, past, new)
        made = torch.tanh(parts[0]) * modified_sigmoid(parts[1])
        if len(parts) > 2 and bool(self.awake):
            made = made + parts[2]
        return made


class DecoderV2(Decoder):
    """tanh(wave × σ(amplitude) + noise)."""

    def __init__(self, body: Chain, wave: Conv, noise: "NoiseSynth | None") -> None:
        super().__init__()
        self.body, self.wave, self.noise = body, wave, noise
        self.noisy = noise is not None

    def stream(self, z: Tensor, noise: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        x = self.body.stream(z, past, new, final)
        branches = [self.wave.stream(x, past, new, final)]
        if self.noise is not None:
            branches.append(self.noise.stream(x, noise, past, new, final))
            branches = level(branches, past, new)
        wave, amplitude = branches[0].chunk(2, 1)
        made = wave * torch.sigmoid(amplitude)
        if len(branches) > 1:
            made = made + branches[1]
        return torch.tanh(made)


def modified_sigmoid(x: Tensor) -> Tensor:
    """2 σ(x)^2.3 + 1e-7: positive, and mostly small (Engel et al. 2020, DDSP)."""
    return 2 * torch.sigmoid(x) ** 2.3 + 1e-7


class NoiseSynth(nn.Module):
    """Filters uniform noise, a filter for every `size` samples of every band (DDSP's noise, zero-phase responses).

    A response is linear in its few points, so that filtering by each point alone is one matrix.
    """

    filters: Tensor

    def __init__(self, config: RaveNoiseConfig, inputs: int, hidden: int, outputs: int, causal: bool,
                 second: bool = False, snake: bool = False) -> None:
        super().__init__()
        widths = [inputs] + [hidden] * (len(config.ratios) - 1) + [outputs * config.bands]
        layers: list[nn.Module] = []
        for i, ratio in enumerate(config.ratios):
            if i:
                layers.append(Snake(widths[i]) if snake else Leaky())
            layers.append(_noise_conv(widths[i], widths[i + 1], ratio, causal, second))
        self.net = Chain(*layers)
        self.points, self.size = config.bands, math.prod(config.ratios)
        self.register_buffer("filters", noise_filters(self.points, self.size), persistent=False)

    def stream(self, x: Tensor, noise: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        amplitude = modified_sigmoid(self.net.stream(x, past, new, final).float() - 5)
        noise = join(past, new, noise, 0)
        count = amplitude.shape[-1]
        new.append(noise[..., count * self.size :])
        # [b c m size] by [b c m points]
        blocks = noise[:, :, 0, : count * self.size].reshape(noise.shape[0], noise.shape[1], count, self.size)
        levels = amplitude[:, :, 0].reshape(noise.shape[0], noise.shape[1], self.points, count).transpose(2, 3)
        filtered = torch.matmul(blocks, self.filters).reshape(blocks.shape[0], blocks.shape[1], count, self.points,
                                                              self.size)
        return (filtered * levels.unsqueeze(-1)).sum(3).flatten(2).unsqueeze(2)


def _noise_conv(inputs: int, outputs: int, ratio: int, causal: bool, second: bool) -> Conv:
    if not second:
        return Conv(inputs, outputs, 3, causal, stride=ratio, normed=False)
    conv = Conv(inputs, outputs, 2 * ratio, causal, stride=ratio, normed=False)
    conv.left, conv.right = ratio, 0  # in the reference, whatever the mode
    return conv


def noise_filters(points: int, size: int) -> Tensor:
    """`[size points·size]`: a block of noise -> it, filtered by each point of the response alone."""
    response = torch.fft.irfft(torch.eye(points).to(torch.complex64))
    taps = response.shape[-1]
    response = response.roll(taps // 2, -1) * torch.hann_window(taps)
    response = nn.functional.pad(response, (0, size - taps)).roll(-(taps // 2), -1)
    shifted = [nn.functional.pad(response, (i, 0))[:, :size] for i in range(size)]
    return torch.stack(shifted).flatten(1).contiguous()


class AdaIN(Streaming):
    """Gives what passes the mean and deviation of a target in place of the source's own, where both were heard.

    While training and until then, it changes nothing (rave/blocks.py, AdaptiveInstanceNormalization).
    """

    source: Tensor
    target: Tensor
    heard: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hears = 0  # 1: the source, 2: the target
        for name in ("source", "target"):
            self.register_buffer(name, torch.stack([torch.zeros(channels), torch.ones(channels)]), persistent=False)
        self.register_buffer("heard", torch.zeros(3), persistent=False)  # blocks: nothing, source, target

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        if self.training or x.shape[-1] < 2:
            return x
        if self.hears > 0:
            flat = x.float().transpose(0, 1).flatten(1)
            now = torch.stack([flat.mean(1), flat.std(1)])
            known = self.source if self.hears == 1 else self.target
            known += (now - known) / (self.heard[self.hears] + 1)
            self.heard[self.hears] += 1
        if self.hears == 2 or bool((self.heard[1:] == 0).any()):
            return x
        source, target = self.source.to(x.dtype)[:, :, None, None], self.target.to(x.dtype)[:, :, None, None]
        return (x - source[0]) / (source[1] + 1e-5) * target[1] + target[0]

    def forget(self, which: int) -> None:
        self.heard[which] = 0
