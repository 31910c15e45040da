"""CLAP from scratch: sound and words in one space (Elizalde et al. 2023, arXiv 2206.04769; Wu et al. 2023, 2211.06687).

    audio ── log-mel ── patches ── transformer ──┐
                                                 ├──► vectors [b e] of unit length; a sound is near its caption
    words ── text encoder of our own ────────────┘

A clip longer than the window is heard twice: the whole of it, squeezed in time, and three crops of it as they are;
both are cut into patches and merged patch by patch by a learned gate (Wu et al., §3.3; attentional feature fusion, Dai
et al. 2021, arXiv 2009.14082).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.audio.spectra import LogMel
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.config import Config
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError

CROPS = 3


class HearingConfig(Config):
    """The audio tower: a spectrogram transformer (Gong et al. 2021, arXiv 2104.01778) over patches of the log-mel."""

    width: int = 192
    depth: int = 4
    heads: int = 4
    bands: int = 64
    n_fft: int = 2048
    hop: int = 1024  # samples
    patch: tuple[int, int] = (16, 8)  # bands, frames
    window: float = 6.0  # seconds that are heard at once
    left_out: float = 0.0  # share of the patches that each training step does without (Koutini et al., 2110.05069)


class ClapConfig(ConditionerConfig):
    width: int = 256  # e, of the joint space
    sample_rate: int = 44_100
    text: TextEncoderConfig = TextEncoderConfig()
    hearing: HearingConfig = HearingConfig()
    prefer: Literal["text", "audio"] = "text"  # where a prompt has both

    def build(self) -> "Clap":
        return Clap(self)


class Clap(Conditioner):
    """Fills `vector` `[b e]`, of unit length: of a prompt's text, or of its audio `[c t]` at `sample_rate`. The null
    prompt's is that of no words."""

    fills = frozenset({"vector"})

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.config, self.width, self.sample_rate = config, config.width, config.sample_rate
        self.text = config.text.build()
        self.hearing = Hearing(config.hearing, config.sample_rate)
        self.from_text = project(config.text.width, config.width)
        self.from_sound = project(config.hearing.width, config.width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # of the similarities: 1 / temperature

    def fit(self, prompts: Iterable[Prompt]) -> None:
        self.text.fit(prompts)

    def fit_further(self, prompts: Iterable[Prompt]) -> None:
        self.text.fit_further(prompts)

    def read(self, prompts: Sequence[Prompt]) -> Tensor:
        """-> `[b e]`, of unit length."""
        found = self.text(prompts).vector
        assert found is not None
        return nn.functional.normalize(self.from_text(found).float(), dim=-1)

    def hear(self, audio: Tensor) -> Tensor:
        """audio `[b c t]` -> `[b e]`, of unit length."""
        return nn.functional.normalize(self.from_sound(self.hearing(audio.mean(1))).float(), dim=-1)

    def scale(self) -> Tensor:
        """What similarities are multiplied by, 100 at most."""
        return self.log_scale.clamp_max(math.log(100)).exp()

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        rows = []
        for prompt in prompts:
            said = bool(prompt.text and prompt.text.strip())
            if prompt.audio is not None and (self.config.prefer == "audio" or not said):
                rows.append(self.hear(prompt.audio[None].to(self.log_scale.device)))
            else:
                rows.append(self.read([prompt]))
        return Conditioning(vector=torch.cat(rows))


class Hearing(nn.Module):
    """mono `[b t]` -> `[b width]`."""

    def __init__(self, config: HearingConfig, sample_rate: int) -> None:
        super().__init__()
        high, wide = config.patch
        if config.bands % high:
            raise UserError(f"{config.bands} mel bands can't be cut into patches {high} bands high")
        if not 0 <= config.left_out < 1:
            raise UserError(f"left_out is a share of the patches, from 0 to below 1, not {config.left_out:g}")
        self.left_out = config.left_out
        self.mel = LogMel(sample_rate, config.n_fft, config.hop, config.bands, low=30.0)
        self.frames = max(round(config.window * sample_rate / config.hop / wide), 1) * wide
        self.samples = self.frames * config.hop
        self.whole = nn.Conv2d(1, config.width, config.patch, config.patch)
        self.crops = nn.Conv2d(1, config.width, (high, CROPS * wide), (high, CROPS * wide))
        self.gate = nn.Sequential(nn.Linear(config.width, config.width // 4), nn.ReLU(),
                                  nn.Linear(config.width // 4, config.width))
        self.place = nn.Parameter(torch.empty(config.bands // high * (self.frames // wide), config.width))
        nn.init.normal_(self.place, std=0.02)
        layer = nn.TransformerEncoderLayer(config.width, config.heads, 4 * config.width, dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, config.depth, nn.LayerNorm(config.width),
                                            enable_nested_tensor=False)

    def forward(self, audio: Tensor) -> Tensor:
        whole, crops = self.look(audio)
        x = patches(self.whole, whole)
        if crops is not None:
            near = patches(self.crops, crops)
            gate = (self.gate(x + near) + self.gate((x + near).mean(1, keepdim=True))).sigmoid()
            x = near.lerp(x, gate)
        x = x + self.place
        if self.training and self.left_out:
            count = max(round((1 - self.left_out) * x.shape[1]), 1)
            x = x[:, torch.randperm(x.shape[1], device=x.device)[:count]]
        return self.layers(x).mean(1)

    def look(self, audio: Tensor) -> tuple[Tensor, Tensor | None]:
        """mono `[b t]` -> the log-mel of the window `[b bands frames]`; of longer audio that of the whole, squeezed,
        and three crops of it, one after another `[b bands 3·frames]`: each from its third, anywhere in it while
        training. Shorter audio is repeated."""
        count = audio.shape[-1]
        if count < self.samples:
            audio = audio.repeat(1, -(-self.samples // max(count, 1)))[:, : self.samples]
        # clip by clip the spectra stay in the processor's cache: twice as fast as a batch at once
        mel = torch.stack([self.mel(clip) for clip in audio]) / 4 + 1  # of music: about zero mean and unit deviation
        if count <= self.samples:
            return mel[..., : self.frames], None
        room = mel.shape[-1] - self.frames
        shares = torch.rand(CROPS) if self.training else torch.full((CROPS,), 0.5)
        starts = [int((i + float(share)) / CROPS * (room + 1)) for i, share in enumerate(shares)]
        crops = torch.cat([mel[..., start : start + self.frames] for start in starts], -1)
        return nn.functional.adaptive_avg_pool1d(mel, self.frames), crops


def patches(cut: nn.Module, mel: Tensor) -> Tensor:
    """`[b f n]` -> `[b patches width]`."""
    return rearrange(cut(mel[:, None]), "b w f n -> b (f n) w")


def project(width: int, joint: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, joint), nn.GELU(), nn.Linear(joint, joint))
