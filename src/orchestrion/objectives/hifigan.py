"""HiFi-GAN's training: mel images alike, critics by period and by scale, and their features alike (Kong et al. 2020,
arXiv 2010.05646, eq. 1-7): least squares + 2·features + 45·mel.

Features are compared before their rectifiers, in the authors' code after them.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from orchestrion.audio.spectra import LogMel
from orchestrion.config import Config
from orchestrion.contracts import Batch, Objective, ObjectiveConfig, Parts
from orchestrion.errors import UserError
from orchestrion.nn.discriminators import (
    Critics,
    Features,
    GroupedScaleCritic,
    PeriodCritic,
    squares_critic,
    squares_generator,
)


class HifiGanCriticsConfig(Config):
    period_width: int = 32  # channels of the first layer; 4, 16, 32 and 32 times as many follow
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    scale_width: int = 128
    scales: int = 3
    start: int = 0  # steps by mel alone, before the critics join
    every: int = 1  # steps between the critics' own

    def critics(self) -> Critics:
        w = self.period_width
        return Critics(PeriodCritic(1, (w, 4 * w, 16 * w, 32 * w), 3, self.periods, last=32 * w, slope=0.1),
                       GroupedScaleCritic(1, self.scale_width, self.scales))


class HifiGanObjectiveConfig(ObjectiveConfig):
    critics: HifiGanCriticsConfig = HifiGanCriticsConfig()
    windows: tuple[int, ...] = (1024,)  # of the mel spectra that are compared, samples; hops are a quarter
    mels: int = 80  # bands, up to half the sample rate; an eighth of the window at most
    mel: float = 45.0  # weights
    features: float = 2.0
    adversarial: float = 1.0

    def build(self, parts: Parts) -> "HifiGanObjective":
        return HifiGanObjective(self, parts)


class HifiGanObjective(Objective):
    loudness: Tensor

    def __init__(self, config: HifiGanObjectiveConfig, parts: Parts) -> None:
        super().__init__()
        vocoder: Any = getattr(parts.codec, "vocoder", None)
        if vocoder is None:
            raise UserError(f"this objective trains a HiFi-GAN vocoder, and this {type(parts.codec).__name__} has none")
        self.config, self.vocoder = config, (vocoder,)  # in a tuple: saved elsewhere
        self.critics = config.critics.critics()
        self.weights = {"mel": config.mel, "features": config.features, "adversarial": config.adversarial,
                        "critic": 1.0}
        rate = parts.codec.sample_rate
        self.mels = nn.ModuleList(LogMel(rate, window, window // 4, min(config.mels, window // 8))
                                  for window in config.windows)
        self.register_buffer("loudness", torch.ones(1))  # of what is made over what is real: for `health`

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"codec": [p for p in self.vocoder[0].parameters() if p.requires_grad],
                "critic": list(self.critics.parameters())}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        if batch.audio is None:
            raise UserError("a vocoder trains on audio: set the stage's `on` to audio")
        audio, settings = batch.audio, self.config.critics
        made = self.vocoder[0](audio).audio
        self._watch(audio, made)
        if step >= settings.start and step % settings.every == 0:
            yield "critic", {"critic": squares_critic(self.critics(audio), self.critics(made.detach()))}
        terms = {"mel": self.distance(audio, made)}
        if step >= settings.start:
            with torch.no_grad():
                real = self.critics(audio)
            judged = self.critics(made)
            terms |= {"features": features_apart(real, judged), "adversarial": squares_generator(judged)}
        yield "codec", terms

    def distance(self, real: Tensor, made: Tensor) -> Tensor:
        """real, made `[b 1 t]` -> mean absolute difference of log-mels, in nepers, mean over windows."""
        return torch.stack([(mel(real) - mel(made)).abs().mean() for mel in self.mels]).mean()

    def health(self) -> str | None:
        if self.loudness < 10 ** (-30 / 20):
            return ("the vocoder has gone silent, more than 30 dB under the music: begin this stage again with a lower "
                    "learning rate")
        return None

    @torch.no_grad()
    def _watch(self, real: Tensor, made: Tensor) -> None:
        ratio = made.float().square().mean().sqrt() / real.square().mean().sqrt().clamp_min(1e-4)
        self.loudness.lerp_(ratio.clamp(max=10), 0.02)


def features_apart(real: Features, made: Features) -> Tensor:
    """Mean absolute differences, summed over layers and parts (eq. 4)."""
    return torch.stack([(a.detach() - b).abs().mean() for r, m in zip(real, made) for a, b in zip(r, m)]).sum()
