"""RAVE's two stages: representation (spectra alike, latents regular), then adversarial (the decoder against critics).

Weights, each applied once. The reference multiplies feature matching and adversarial weights twice (rave/model.py,
training_step), so that the numbers in its configurations are not those that its models were trained with:

    |                      | written | effective there | here (systems/rave.py) |
    | v1 feature matching  | 10      | 100             | 100                    |
    | v2 feature matching  | 20      | 400             | 400; our own sizes 20  |
    | wasserstein adversarial, spectra | 2, 2 | 4, 2   | 4, 2                   |

The encoder is frozen in the second stage by what that stage trains: `codec.decoder`.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.contracts import Batch, Objective, ObjectiveConfig, Parts
from orchestrion.errors import UserError
from orchestrion.nn.discriminators import (
    BandCritic,
    Critics,
    PeriodCritic,
    ScaleCritic,
    SpectralCritic,
    feature_distance,
    hinge_critic,
    hinge_generator,
)

REGULARISERS = ("kl", "mmd", "commitment")  # what a bottleneck may call its loss


class RaveCriticsConfig(Config):
    """Which critics judge, and how often they learn."""

    from_zero = frozenset({"scales", "skip"})

    width: int = 64
    layers: int = 4
    scales: int = 3
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)  # none in v1
    spectral_windows: tuple[int, ...] = ()  # of complex spectrograms
    band_windows: tuple[int, ...] = ()  # of the same in bands: makes these and the periods' Descript's critics (v3)
    every: int = 4  # steps between the critics' steps
    relative: bool = True  # feature distances over the features' size
    skip: int = 1  # first features that are not compared

    def critics(self, channels: int) -> Critics:
        if self.band_windows:
            widths = tuple(self.width * factor for factor in (1, 4, 16, 32))
            return Critics(PeriodCritic(channels, widths, 3, self.periods, last=widths[-1], slope=0.1),
                           BandCritic(channels, self.width, self.band_windows), levelled=True)
        widths = tuple(self.width * 2**i for i in range(self.layers))
        critics: list[nn.Module] = []
        if self.periods:
            critics.append(PeriodCritic(channels, widths, 4, self.periods))
        if self.scales:
            critics.append(ScaleCritic(channels, widths, scales=self.scales))
        if self.spectral_windows:
            critics.append(SpectralCritic(channels, self.width // 2, self.spectral_windows))
        return Critics(*critics)


class RaveObjectiveConfig(ObjectiveConfig):
    """The first stage; with critics, the second."""

    windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    epsilon: float = 1e-7  # added to magnitudes before the logarithm; 1 in the discrete model
    spectral: float = 1.0  # weight of the distance, of the whole and of the bands alike
    regular: float = 0.05  # weight of KL, MMD or commitment: from `regular_start`, growing evenly in its logarithm
    regular_start: float = 1e-6
    regular_steps: int = 20_000
    critics: RaveCriticsConfig | None = None
    feature_matching: float = 400.0
    adversarial: float = 1.0

    def build(self, parts: Parts) -> "RaveObjective":
        return RaveObjective(self, parts)


class RaveObjective(Objective):
    loudness: Tensor
    scatter: Tensor
    certainty: Tensor

    def __init__(self, config: RaveObjectiveConfig, parts: Parts) -> None:
        super().__init__()
        codec: Any = parts.codec
        if not hasattr(codec, "pqmf"):
            raise UserError(f"this objective trains RAVE, not a {type(codec).__name__}")
        self.config, self.codec = config, (codec,)  # in a tuple: saved elsewhere
        self.critics = config.critics.critics(codec.channels) if config.critics else None
        if self.critics and hasattr(codec.decoder, "awake"):
            codec.decoder.awake.fill_(1)  # v1's noise joins in the second stage
        self.weights = {"spectral": config.spectral, "bands": config.spectral, "critic": 1.0,
                        "feature_matching": config.feature_matching, "adversarial": config.adversarial}
        for window in config.windows:
            self.register_buffer(f"window{window}", torch.hann_window(window), persistent=False)
        # running averages, for `health`
        self.register_buffer("loudness", torch.ones(1))  # of what is made over what is real, amplitudes
        self.register_buffer("scatter", torch.ones(codec.config.latents))  # variance of the latents
        self.register_buffer("certainty", torch.zeros(1))  # of the critics: real minus made

    def groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {"codec": [p for p in self.codec[0].parameters() if p.requires_grad]}
        if self.critics:
            groups["critic"] = list(self.critics.parameters())
        return groups

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        if batch.audio is None:
            raise UserError("RAVE trains on audio: set the stage's `on` to audio")
        codec, audio = self.codec[0], batch.audio
        made = codec(audio)
        self._watch(audio, made.audio, made.latents)
        settings = self.config.critics
        if self.critics and settings and step % settings.every == 0:
            yield "critic", self._critic_turn(audio, made.audio.detach())
        terms = {"spectral": self.distance(audio, made.audio), "bands": self._band_distance(audio, made.audio)}
        for name in REGULARISERS:
            if name in made.losses and made.losses[name].requires_grad:
                terms[name] = made.losses[name]
                self.weights[name] = self.regular_weight(step) if not self.critics else self.config.regular
        if self.critics and settings:
            with torch.no_grad():
                real = self.critics(audio)
            judged = self.critics(made.audio)
            terms["feature_matching"] = feature_distance(real, judged, settings.relative, settings.skip)
            terms["adversarial"] = hinge_generator(judged)
        yield "codec", terms

    def regular_weight(self, step: int) -> float:
        """β: from `regular_start` to `regular` over `regular_steps`, straight on a logarithmic scale."""
        share = min(1.0, (step + 1) / max(1, self.config.regular_steps))
        start, end = math.log(self.config.regular_start), math.log(self.config.regular)
        return math.exp(start + share * (end - start))

    def distance(self, real: Tensor, made: Tensor) -> Tensor:
        """real, made `[b c t]` -> summed over windows: |x - y|² / |x|² plus L1 of the logarithms of magnitudes
        (rave/core.py, AudioDistanceV1)."""
        total = [real.new_zeros(())]
        with torch.autocast(real.device.type, enabled=False):
            for window in self.config.windows:
                if window > real.shape[-1]:
                    continue
                shape = getattr(self, f"window{window}")
                x, y = (magnitudes(a.float().flatten(0, 1), shape) for a in (real, made))
                linear = (x - y).square().mean() / x.square().mean().clamp_min(1e-8)
                total.append(linear + _LogDistance.apply(x + self.config.epsilon, y + self.config.epsilon))
        return torch.stack(total).sum()

    def health(self) -> str | None:
        if self.loudness < 10 ** (-40 / 20):
            return ("the decoder has gone silent, more than 40 dB under the music: begin this stage again with a lower "
                    "learning rate, or a lower weight `regular`")
        carrying = int((self.scatter > 0.01).sum())
        if carrying <= 1 and not self.critics:
            return (f"the latents have collapsed: {carrying} of {len(self.scatter)} carry something; lower the "
                    "objective's `regular`, or let it grow over more `regular_steps`")
        if self.critics and self.certainty > 1.9:
            return ("the critics tell everything that is made from what is real: they no longer teach; raise "
                    "`critics.every`, or lower critic_rate")
        return None

    def _critic_turn(self, real: Tensor, made: Tensor) -> dict[str, Tensor]:
        assert self.critics is not None
        on_real, on_made = self.critics(real), self.critics(made)
        gap = torch.stack([(r[-1].mean() - m[-1].mean()).detach() for r, m in zip(on_real, on_made)]).mean()
        self.certainty.lerp_(gap.float().clamp(-2, 2), 0.02)
        return {"critic": hinge_critic(on_real, on_made)}

    def _band_distance(self, real: Tensor, made: Tensor) -> Tensor:
        """The same distance in every band of the filter bank."""
        bank = self.codec[0].pqmf
        whole = real.shape[-1] // bank.bands * bank.bands
        real, made = (bank(a[..., :whole].reshape(-1, 1, whole)).squeeze(2) for a in (real, made))
        return self.distance(real, made)

    @torch.no_grad()
    def _watch(self, real: Tensor, made: Tensor, latents: Tensor) -> None:
        ratio = made.square().mean().sqrt() / real.square().mean().sqrt().clamp_min(1e-5)
        self.loudness.lerp_(ratio.float().clamp(max=10), 0.02)
        if latents.is_floating_point():
            self.scatter.lerp_(latents.float().transpose(0, 1).flatten(1).var(1), 0.02)


# The distance takes more of a training step than the networks do, so its gradients are written out.


def magnitudes(audio: Tensor, window: Tensor) -> Tensor:
    """`[b t]` -> `[b n f]`: a spectrogram's magnitudes, unscaled, at least 1e-7; hops of a quarter window."""
    reach = len(window) // 2
    return _Magnitudes.apply(nn.functional.pad(audio.unsqueeze(1), (reach, reach), mode="reflect").squeeze(1), window)


class _Magnitudes(torch.autograd.Function):
    """Half the time of `torch.stft`'s gradient, which goes by way of whole complex spectra."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, window: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(padded.unfold(-1, len(window), len(window) // 4) * window)
        made = spectrum.abs().clamp_min(1e-7)
        ctx.save_for_backward(spectrum, made, window)
        ctx.length = padded.shape[-1]
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        spectrum, made, window = ctx.saved_tensors
        hop, count = len(window) // 4, made.shape[1]
        scale = gradient / made * (2 * hop)  # irfft divides by the window's length, and counts inner bins twice
        scale[..., 0] *= 2
        scale[..., -1] *= 2
        frames = torch.fft.irfft(spectrum * scale, n=len(window)) * window
        summed = frames.new_zeros(len(made), ctx.length)
        hops = summed[:, : (count + 3) * hop].view(len(made), count + 3, hop)
        for i, part in enumerate(frames.split(hop, -1)):
            hops[:, i : i + count] += part
        return summed, None


class _LogDistance(torch.autograd.Function):
    """x, y above zero -> mean of |log x - log y|; the gradient is y's alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return (x / y).log_().abs_().mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        x, y = ctx.saved_tensors
        return None, (y - x).sign_().div_(y).mul_(gradient / y.numel())
