"""Training of Musika's codec, one level at a time. The authors never released theirs.

What the paper tells (Pasini & Schlüter, ISMIR 2022) is kept: L1 on log magnitudes, a hinge adversarial loss on
spectrograms computed again from the decoded waveform, so that the invented phase must be consistent, a multi-scale
spectral distance; and the second level by the same losses through the frozen first. The critic's layers, its spectral
norm (their layers.py holds such convolutions, unused) and the weights are ours.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

from orchestrion.contracts import Batch, Objective, ObjectiveConfig, Parts
from orchestrion.errors import UserError

FLOOR = 1e-4  # amplitude of a full-scale sine below which levels are not compared


class MusikaCodecObjectiveConfig(ObjectiveConfig):
    level: int = 1  # 1, or 2: through both, level 1 as it is
    windows: tuple[int, ...] = (512, 2048, 8192)  # of the multi-scale distance, samples
    critic_width: int = 32
    adversarial_from: int = 0  # the critic joins at this step
    magnitude: float = 5.0  # weights
    latents: float = 5.0  # level 2 only
    spectral: float = 1.0
    adversarial: float = 0.1

    def build(self, parts: Parts) -> "MusikaCodecObjective":
        return MusikaCodecObjective(self, parts)


class MusikaCodecObjective(Objective):
    """Trains `level1` or `level2` of a Musika codec, mono or `PerChannel`, against a critic of spectrograms."""

    certainty: Tensor

    def __init__(self, config: MusikaCodecObjectiveConfig, parts: Parts) -> None:
        super().__init__()
        codec: Any = getattr(parts.codec, "mono", parts.codec)
        if not hasattr(codec, "attempt"):
            raise UserError(f"this objective trains Musika's codec, not a {type(parts.codec).__name__}")
        if config.level not in (1, 2):
            raise UserError(f"Musika's codec has the levels 1 and 2, not {config.level}")
        self.config, self.codec = config, (codec,)  # in a tuple: saved elsewhere
        self.critic = SpectrogramCritic(config.critic_width)
        self.weights = {"magnitude": config.magnitude, "latents": config.latents, "spectral": config.spectral,
                        "adversarial": config.adversarial, "critic": 1.0}
        for window in config.windows:
            self.register_buffer(f"window{window}", torch.hann_window(window), persistent=False)
        self.register_buffer("certainty", torch.tensor(0.5))  # running average, for `health`

    def groups(self) -> dict[str, list[nn.Parameter]]:
        level = self.codec[0].level1 if self.config.level == 1 else self.codec[0].level2
        return {"codec": [p for p in level.parameters() if p.requires_grad], "critic": list(self.critic.parameters())}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        audio = self._blocks(batch)
        made = self.codec[0].attempt(audio, self.config.level)
        again = self.codec[0].levels(made.audio)  # of the waveform: what its phase really gives
        adversarial = step >= self.config.adversarial_from and self.config.adversarial > 0
        if adversarial:
            on_real, on_made = self.critic(made.level), self.critic(again.detach())
            self._watch(on_real.mean() - on_made.mean())
            yield "critic", {"critic": ((1 - on_real).relu().mean() + (1 + on_made).relu().mean()) / 2}
        terms = {
            "magnitude": (made.made_level - made.level).abs().mean(),
            "spectral": self.distance(audio[:, 0], made.audio[:, 0]),
        }
        if self.config.level == 2:
            terms["latents"] = (made.made_z1 - made.z1.detach()).abs().mean()
        if adversarial:
            terms["adversarial"] = -self.critic(again).mean()
        yield "codec", terms

    def distance(self, real: Tensor, made: Tensor) -> Tensor:
        """real, made `[b t]` -> mean over windows of spectral convergence plus log-magnitude L1.

        Convergence is of the batch as a whole: of each clip by itself, a silent one would weigh more than all others.
        """
        total = []
        with torch.autocast(real.device.type, enabled=False):
            for window in self.config.windows:
                x, y = (self._magnitude(a.float(), window) for a in (real, made))
                difference, size = (torch.linalg.vector_norm(m) for m in (x - y, x))
                nothing = FLOOR * x.numel() ** 0.5  # the size of a batch without a sound
                total.append(difference / (size + nothing) + ((x + FLOOR).log() - (y + FLOOR).log()).abs().mean())
        return torch.stack(total).mean()

    def reconstruct(self, audio: Tensor) -> Tensor | None:
        """Level 1 by itself, while level 2 is untrained: `[b c t]`, cut to whole blocks."""
        if self.config.level == 2:
            return None
        made = self.codec[0].attempt(self._blocks(Batch(audio=audio)), 1).audio
        return rearrange(made, "(b c) 1 t -> b c t", b=len(audio))

    def health(self) -> str | None:
        if self.certainty > 0.99 and self.config.adversarial > 0:
            return ("the critic tells every decoded spectrogram from a real one: its loss no longer teaches; lower "
                    "critic_rate, or set adversarial_from to a later step")
        return None

    def _magnitude(self, audio: Tensor, window: int) -> Tensor:
        """`[b t]` -> `[b f n]`, a full-scale sine being 1."""
        shape = getattr(self, f"window{window}")
        spectrum = torch.stft(audio, window, window // 4, window=shape, pad_mode="constant", return_complex=True)
        return (spectrum.abs() * (4 / window)).clamp_min(1e-7)

    def _blocks(self, batch: Batch) -> Tensor:
        """The batch's audio `[b·c 1 t]`, cut to whole blocks."""
        if batch.audio is None:
            raise UserError("Musika's codec trains on audio: set the stage's `on` to audio")
        codec = self.codec[0]
        whole = batch.audio.shape[-1] // codec.multiple_of * codec.multiple_of
        if not whole:
            raise UserError(f"Musika's codec trains on crops of {codec.multiple_of / codec.sample_rate:.3g} seconds "
                            "or more: raise the stage's crop")
        return rearrange(batch.audio[..., :whole], "b c t -> (b c) 1 t")

    @torch.no_grad()
    def _watch(self, gap: Tensor) -> None:
        self.certainty.lerp_(gap.float().clamp(0, 2) / 2, 0.01)


class SpectrogramCritic(nn.Module):
    """Normalised dB `[b n f]` -> a score for each patch, of about 65 frames by half the bands; it is told the pitch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (2, width, 2 * width, 4 * width, 4 * width, 4 * width)
        self.enter = spectral_norm(nn.Conv2d(widths[0], widths[1], (3, 4), stride=(1, 4), padding=(1, 0)))
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 3, stride=2, padding=1))
                                    for a, b in itertools.pairwise(widths[1:]))
        self.leave = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, level: Tensor) -> Tensor:
        pitch = torch.linspace(-1, 1, level.shape[-1], device=level.device).expand_as(level)
        x = torch.stack([level, pitch], 1).to(memory_format=torch.channels_last)
        for layer in (self.enter, *self.layers):
            x = leaky_relu(layer(x), 0.2)
        return self.leave(x).float()
