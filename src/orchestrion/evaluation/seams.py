"""Whether joints between windows are heard: jumps of level and spectrum there, against those elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.errors import UserError
from orchestrion.evaluation.signals import Clip, mono

SIDE = 2048  # samples on either side of a place that are compared
CLICK = 256  # samples around a place in which a click would be
FLOOR = 10 ** (-70 / 20)  # -70 dBFS: silence
BANDS = 64
AWAY = 0.25  # seconds between a joint and the places that it is compared with
STEP = 0.1  # seconds between those places


@dataclass(frozen=True)
class Jumps:
    """At every place `[p]`: change of level in dB, of log-mel spectrum in nepers, and the click in dB."""

    level: Tensor
    spectrum: Tensor
    click: Tensor

    def __add__(self, other: "Jumps") -> "Jumps":
        return Jumps(torch.cat([self.level, other.level]), torch.cat([self.spectrum, other.spectrum]),
                     torch.cat([self.click, other.click]))


def jumps(clip: Clip, places: Sequence[int], sample_rate: int) -> Jumps:
    """Clip `[c t]`, places in samples, each at least `SIDE` from both ends.

    level: |difference| of the levels of the 2048 samples before and after. spectrum: mean |difference| of
    their log-mel spectra (64 bands). click: how much the high band (the second difference of the signal)
    is stronger in the 256 samples around the place than in the samples beside them.
    """
    audio = mono(clip)
    around = torch.stack([audio[place - SIDE : place + SIDE] for place in places])
    before, after = around[:, :SIDE], around[:, SIDE:]
    level = 20 * (_root_mean_square(after) / _root_mean_square(before)).log10().abs()
    filters = mel_filterbank(sample_rate, SIDE, BANDS, scale="htk").to(audio.dtype)
    window = torch.hann_window(SIDE, dtype=audio.dtype)
    bands = [(torch.fft.rfft(side * window).abs() * (4 / SIDE) @ filters.T + FLOOR / 10).log()
             for side in (before, after)]
    spectrum = (bands[0] - bands[1]).abs().mean(1)
    sharp = around.diff(dim=1).diff(dim=1)
    middle = (sharp.shape[1] - CLICK) // 2
    centre = _root_mean_square(sharp[:, middle : middle + CLICK])
    end = middle + CLICK
    beside = torch.cat([sharp[:, middle - 2 * CLICK : middle], sharp[:, end : end + 2 * CLICK]], 1)
    return Jumps(level, spectrum, 20 * (centre / _root_mean_square(beside)).log10())


def _root_mean_square(audio: Tensor) -> Tensor:
    return audio.square().mean(1).sqrt().clamp_min(FLOOR / 10)


def elsewhere(length: int, joints: Sequence[int], sample_rate: int) -> list[int]:
    """Places every tenth of a second that are a quarter of a second or more from every joint."""
    away = max(AWAY * sample_rate, 2 * SIDE)
    marks = torch.tensor([-away, *joints, length + away])
    grid = torch.arange(SIDE, length - SIDE, round(STEP * sample_rate))
    return grid[(grid[:, None] - marks).abs().amin(1) >= away].tolist()


@dataclass(frozen=True)
class SeamFigure:
    """One kind of jump: its median at the joints, and median and 75th percentile elsewhere."""

    name: str
    unit: str
    joints: float
    median: float
    upper: float

    @property
    def holds(self) -> bool:
        return self.joints < self.upper


def seams(clips: Sequence[Clip], joints: Sequence[Sequence[int]], sample_rate: int,
          least: int = 100) -> list[SeamFigure]:
    """Clips `[c t]` and the joints of each in samples -> a figure for level, spectrum and clicks.

    Raises UserError with fewer than `least` joints, since their median would say little.
    """
    inside = [[place for place in places if SIDE <= place <= clip.shape[-1] - SIDE]
              for clip, places in zip(clips, joints)]
    count = sum(map(len, inside))
    if count < least:
        raise UserError(f"there are {count} joints and {least} are needed: give longer clips or more of them")
    at, off = None, None
    for clip, places in zip(clips, inside):
        others = elsewhere(clip.shape[-1], places, sample_rate)
        if places:
            here = jumps(clip, places, sample_rate)
            at = here if at is None else at + here
        if others:
            there = jumps(clip, others, sample_rate)
            off = there if off is None else off + there
    if at is None or off is None:
        raise UserError("the joints stand so close together that nothing lies between them to compare with")
    return [_figure("level jump", "dB", at.level, off.level),
            _figure("spectral jump", "neper", at.spectrum, off.spectrum),
            _figure("click", "dB", at.click, off.click)]


def _figure(name: str, unit: str, at: Tensor, off: Tensor) -> SeamFigure:
    return SeamFigure(name, unit, at.median().item(), off.median().item(), off.quantile(0.75).item())
