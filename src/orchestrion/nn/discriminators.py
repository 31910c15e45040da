"""Critics of waveforms: at several rates, by several periods, and of complex spectrograms.

Every one takes audio `[b c t]` and gives, for each of its parts, a list of features, the score last.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

Features = list[list[Tensor]]


class ScaleCritic(nn.Module):
    """The wave itself and its halved versions, each by strided convolutions (Kumar et al. 2019, MelGAN).

    RAVE's is `ScaleCritic(channels, widths=(64, 128, 256, 512), taps=15, stride=4)`, three scales.
    """

    def __init__(self, channels: int, widths: Sequence[int], taps: int = 15, stride: int = 4, scales: int = 3,
                 slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope
        self.scales = nn.ModuleList(
            nn.ModuleList([*(weight_norm(nn.Conv1d(a, b, taps, stride, padding=taps // 2))
                             for a, b in itertools.pairwise((channels, *widths))), nn.Conv1d(widths[-1], 1, 1)])
            for _ in range(scales))

    def forward(self, audio: Tensor) -> Features:
        found = []
        for i, layers in enumerate(self.scales):
            audio = nn.functional.avg_pool1d(audio, 2) if i else audio
            found.append(_through(layers, audio, self.slope))
        return found


class PeriodCritic(nn.Module):
    """Every p-th sample side by side, so that what repeats after p samples stands out (Kong et al. 2020, HiFi-GAN).

    HiFi-GAN's is `PeriodCritic(1, widths=(32, 128, 512, 1024), stride=3, last=1024, slope=0.1)`; RAVE's has strides
    of 4, widths (64, 128, 256, 512) and no last layer.
    """

    def __init__(self, channels: int, widths: Sequence[int], stride: int, periods: Sequence[int] = (2, 3, 5, 7, 11),
                 last: int = 0, slope: float = 0.2) -> None:
        super().__init__()
        self.periods, self.slope = tuple(periods), slope
        self.parts = nn.ModuleList()
        for _ in self.periods:
            layers = [weight_norm(nn.Conv2d(a, b, (5, 1), (stride, 1), padding=(2, 0)))
                      for a, b in itertools.pairwise((channels, *widths))]
            if last:
                layers += [weight_norm(nn.Conv2d(widths[-1], last, (5, 1), padding=(2, 0))),
                           weight_norm(nn.Conv2d(last, 1, (3, 1), padding=(1, 0)))]
            else:
                layers.append(nn.Conv2d(widths[-1], 1, 1))
            self.parts.append(nn.ModuleList(layers))

    def forward(self, audio: Tensor) -> Features:
        found = []
        for period, layers in zip(self.periods, self.parts):
            padded = nn.functional.pad(audio, (0, -audio.shape[-1] % period))
            found.append(_through(layers, padded.unflatten(-1, (-1, period)), self.slope))
        return found


class SpectralCritic(nn.Module):
    """Complex spectrograms of several windows by 2-D convolutions that widen in time (Défossez et al., EnCodec)."""

    def __init__(self, channels: int, width: int = 32, windows: Sequence[int] = (4096, 2048, 1024, 512, 256),
                 slope: float = 0.2) -> None:
        super().__init__()
        self.windows, self.slope = tuple(windows), slope
        self.parts = nn.ModuleList()
        for window in self.windows:
            self.register_buffer(f"window{window}", torch.hann_window(window), persistent=False)
            layers = [weight_norm(nn.Conv2d(2 * channels, width, (9, 3), padding=(4, 1)))]
            layers += [weight_norm(nn.Conv2d(width, width, (9, 3), (2, 1), padding=(4, d), dilation=(1, d)))
                       for d in (1, 2, 4)]
            layers += [weight_norm(nn.Conv2d(width, width, 3, padding=1)),
                       weight_norm(nn.Conv2d(width, 1, 3, padding=1))]
            self.parts.append(nn.ModuleList(layers))

    def forward(self, audio: Tensor) -> Features:
        found = []
        for window, layers in zip(self.windows, self.parts):
            shape: Tensor = getattr(self, f"window{window}")
            with torch.autocast(audio.device.type, enabled=False):
                spectrum = torch.stft(audio.float().flatten(0, 1), window, window // 4, window=shape, center=False,
                                      return_complex=True) / shape.norm()
            parts = torch.view_as_real(spectrum).unflatten(0, audio.shape[:2])  # [b c f n 2]
            found.append(_through(layers, parts.permute(0, 4, 1, 2, 3).flatten(1, 2), self.slope))
        return found


class GroupedScaleCritic(nn.Module):
    """The wave itself and its halved versions, by long kernels over groups of channels (Kong et al. 2020, HiFi-GAN:
    width 128, three scales). The first scale is bounded by its spectral norm, the others are not."""

    TAPS, STRIDES, GROUPS, WIDER = ((15, 41, 41, 41, 41, 41, 5), (1, 2, 2, 4, 4, 1, 1), (1, 4, 16, 16, 16, 16, 1),
                                    (1, 1, 2, 4, 8, 8, 8))

    def __init__(self, channels: int, width: int = 128, scales: int = 3, slope: float = 0.1) -> None:
        """width: a multiple of 8. Narrow critics have fewer groups, of at least 8 channels."""
        super().__init__()
        self.slope = slope
        self.scales = nn.ModuleList()
        for scale in range(scales):
            bounded = weight_norm if scale else spectral_norm
            widths = [channels, *(width * wider for wider in self.WIDER)]
            layers = [bounded(nn.Conv2d(a, b, (1, taps), (1, stride), (0, taps // 2), groups=min(groups, width // 8)))
                      for (a, b), taps, stride, groups in zip(itertools.pairwise(widths), self.TAPS, self.STRIDES,
                                                              self.GROUPS)]
            self.scales.append(nn.ModuleList([*layers, bounded(nn.Conv2d(widths[-1], 1, (1, 3), padding=(0, 1)))]))

    def forward(self, audio: Tensor) -> Features:
        found = []
        for i, layers in enumerate(self.scales):
            audio = nn.functional.avg_pool1d(audio, 4, 2, padding=2) if i else audio
            row = audio[:, :, None].contiguous(memory_format=torch.channels_last)  # quicker than in one dimension
            found.append(_through(layers, row, self.slope))
        return found


class BandCritic(nn.Module):
    """Complex spectrograms of several windows, cut into bands that are judged by convolutions of their own before one
    joins them (Kumar et al. 2023, arXiv 2306.06546, Descript's audio codec)."""

    def __init__(self, channels: int, width: int = 32, windows: Sequence[int] = (2048, 1024, 512),
                 edges: Sequence[float] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0), slope: float = 0.1) -> None:
        super().__init__()
        self.windows, self.edges, self.slope = tuple(windows), tuple(edges), slope
        self.bands, self.joins = nn.ModuleList(), nn.ModuleList()
        for window in self.windows:
            self.register_buffer(f"window{window}", torch.hann_window(window), persistent=False)
            self.bands.append(nn.ModuleList(self._band(2 * channels, width) for _ in self.edges[1:]))
            self.joins.append(weight_norm(nn.Conv2d(width, 1, 3, padding=1)))

    def forward(self, audio: Tensor) -> Features:
        found = []
        for window, bands, join in zip(self.windows, self.bands, self.joins):
            shape: Tensor = getattr(self, f"window{window}")
            with torch.autocast(audio.device.type, enabled=False):
                spectrum = torch.stft(audio.float().flatten(0, 1), window, window // 4, window=shape,
                                      return_complex=True)
            parts = torch.view_as_real(spectrum).unflatten(0, audio.shape[:2])  # [b c f n 2]
            planes = parts.permute(0, 1, 4, 3, 2).flatten(1, 2)  # [b 2c n f]
            features: list[Tensor] = []
            ends = []
            assert isinstance(bands, nn.ModuleList)
            edges = [int(edge * planes.shape[-1]) for edge in self.edges]
            for layers, (low, high) in zip(bands, itertools.pairwise(edges)):
                features += _through(layers, planes[..., low:high], self.slope)
                ends.append(leaky_relu(features[-1], self.slope))
            found.append([*features, join(torch.cat(ends, -1))])
        return found

    @staticmethod
    def _band(inputs: int, width: int) -> nn.ModuleList:
        layers = [nn.Conv2d(inputs, width, (3, 9), padding=(1, 4))]
        layers += [nn.Conv2d(width, width, (3, 9), (1, 2), padding=(1, 4)) for _ in range(3)]
        return nn.ModuleList(weight_norm(layer) for layer in [*layers, nn.Conv2d(width, width, 3, padding=1)])


class Critics(nn.Module):
    """Several critics as one. levelled: they hear sound without its mean, its peak at 0.8, so that loudness tells them
    nothing (Descript's)."""

    def __init__(self, *critics: nn.Module, levelled: bool = False) -> None:
        super().__init__()
        self.critics, self.levelled = nn.ModuleList(critics), levelled

    def forward(self, audio: Tensor) -> Features:
        if self.levelled:
            audio = audio - audio.mean(-1, keepdim=True)
            audio = 0.8 * audio / (audio.abs().amax(-1, keepdim=True) + 1e-9)
        return [features for critic in self.critics for features in critic(audio)]


def _through(layers: nn.Module, x: Tensor, slope: float) -> list[Tensor]:
    """What each convolution gives, leaky rectifiers between them."""
    assert isinstance(layers, nn.ModuleList)
    found = []
    for i, layer in enumerate(layers):
        x = layer(leaky_relu(x, slope) if i else x)
        found.append(x)
    return found


# Losses


def hinge_critic(real: Features, made: Features) -> Tensor:
    """max(0, 1 - real) + max(0, 1 + made), summed over the parts (Lim & Ye 2017)."""
    return torch.stack([(1 - r[-1]).relu().mean() + (1 + m[-1]).relu().mean() for r, m in zip(real, made)]).sum()


def hinge_generator(made: Features) -> Tensor:
    return -torch.stack([m[-1].mean() for m in made]).sum()


def squares_critic(real: Features, made: Features) -> Tensor:
    """(1 - real)² + made², summed over the parts (least squares: Mao et al. 2017, arXiv 1611.04076)."""
    return torch.stack([(1 - r[-1]).square().mean() + m[-1].square().mean() for r, m in zip(real, made)]).sum()


def squares_generator(made: Features) -> Tensor:
    return torch.stack([(1 - m[-1]).square().mean() for m in made]).sum()


def feature_distance(real: Features, made: Features, relative: bool = False, skip: int = 0) -> Tensor:
    """Mean L1 between features (Larsen et al. 2016), over layers from `skip` on and parts.

    relative: over the mean magnitude of the real ones.
    """
    total = []
    for r, m in zip(real, made):
        layers = []
        for a, b in zip(r[skip:], m[skip:]):
            distance = (a.detach() - b).abs().mean()
            layers.append(distance / a.detach().abs().mean().clamp_min(1e-6) if relative else distance)
        total.append(torch.stack(layers).mean())
    return torch.stack(total).mean()
