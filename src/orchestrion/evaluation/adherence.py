"""Does it play what was asked? Attributes that are known in numbers, heard again in the clip.

Ranks are compared where hearing gives another unit than the one that was asked for (notes a second asked,
onsets a second heard); tempo and key count as met or not, less what chance would meet. All lie between -1
and 1: 1 as asked, 0 no better than another clip's prompt.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from orchestrion.evaluation.bootstrap import Interval, mean_interval
from orchestrion.evaluation.chroma import chroma
from orchestrion.evaluation.onsets import onset_rate, onset_strength
from orchestrion.evaluation.pulse import beat_of
from orchestrion.evaluation.scoreboard import Measured
from orchestrion.evaluation.signals import TINY, Clip, magnitudes, mono

FEWEST = 8  # clips with an attribute, below which nothing is said about it
TEMPO_TOLERANCE = 0.04  # octaves: 2.8 %

# Krumhansl & Kessler 1982, as in `corpus.music`, here from A upwards like `chroma`.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def level(clip: Clip, sample_rate: int) -> float:
    """dBFS."""
    return 10 * math.log10(mono(clip).square().mean().clamp_min(TINY).item())


def brightness(clip: Clip, sample_rate: int) -> float:
    """Spectral centroid in octaves above 1 Hz."""
    power = magnitudes(mono(clip), 4096, 2048).square().sum(1)
    centroid = power @ torch.linspace(0, sample_rate / 2, len(power), dtype=power.dtype) / power.sum().clamp_min(TINY)
    return math.log2(max(1.0, centroid.item()))


def heard_tempo(clip: Clip, sample_rate: int) -> float:
    """Beats a minute, as a listener would tap them; nan without a pulse."""
    period = beat_of(onset_strength(mono(clip), sample_rate))
    return 60 / period if period else math.nan


def heard_key(clip: Clip, sample_rate: int) -> float:
    """0 to 11 for C to B major, 12 to 23 for C to B minor: the profile that correlates best with the chroma."""
    from_c = chroma(clip, sample_rate).sqrt().sum(1).roll(-3).numpy()
    if from_c.std() < TINY:
        return math.nan
    scores = [np.corrcoef(from_c, np.roll(profile, tonic))[0, 1] for profile in (MAJOR, MINOR) for tonic in range(12)]
    return float(np.argmax(scores))


def asked_key(attributes: Mapping[str, float]) -> float:
    """The corpus's `key` (0 to 11, C to B) and `mode` (1 major), counted as in `heard_key`."""
    if "key" not in attributes or "mode" not in attributes or attributes.get("key_clarity", 1.0) < 0.05:
        return math.nan
    return attributes["key"] + (0 if attributes["mode"] else 12)


def ranks_agree(asked: np.ndarray, heard: np.ndarray) -> float:
    """Spearman's rank correlation `[b]`, `[b]`; 0 where one of them never changes."""
    from scipy.stats import rankdata

    first, second = rankdata(asked), rankdata(heard)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def tempos_agree(asked: np.ndarray, heard: np.ndarray) -> float:
    """Share within 2.8 % of the tempo, its double, half …, less what chance would meet."""
    heard = np.where(np.isfinite(heard), heard, asked * 2**0.5)  # no pulse: as wrong as can be
    octaves = np.log2(heard / asked)
    return _above_chance(np.abs(octaves - np.round(octaves)) < TEMPO_TOLERANCE, 2 * TEMPO_TOLERANCE)


def keys_agree(asked: np.ndarray, heard: np.ndarray) -> float:
    """Share of the very same key, less one in 24."""
    return _above_chance(asked == heard, 1 / 24)


def _above_chance(met: np.ndarray, chance: float) -> float:
    return float((met.mean() - chance) / (1 - chance))


@dataclass(frozen=True)
class Attribute:
    """asked: its number in a prompt's attributes (nan: not asked); heard: in a clip; agreement of the two."""

    name: str
    asked: Callable[[Mapping[str, float]], float]
    heard: Callable[[Clip, int], float]
    agreement: Callable[[np.ndarray, np.ndarray], float]


def _plain(name: str) -> Callable[[Mapping[str, float]], float]:
    return lambda attributes: float(attributes.get(name, math.nan))


ATTRIBUTES = (
    Attribute("density", _plain("density"), onset_rate, ranks_agree),
    Attribute("tempo", _plain("tempo"), heard_tempo, tempos_agree),
    Attribute("key", asked_key, heard_key, keys_agree),
    Attribute("pitch", _plain("pitch"), brightness, ranks_agree),
    Attribute("brightness", _plain("brightness"), brightness, ranks_agree),
    Attribute("velocity", _plain("velocity"), level, ranks_agree),
    Attribute("level", _plain("level"), level, ranks_agree),
)


def hear(clip: Clip, sample_rate: int, names: Sequence[str]) -> dict[str, float]:
    """What a clip has of the named attributes."""
    return {each.name: each.heard(clip, sample_rate) for each in ATTRIBUTES if each.name in names}


def known_attributes(asked: Sequence[Mapping[str, float]]) -> list[str]:
    """Those that enough prompts ask for, and not all alike."""
    found = []
    for attribute in ATTRIBUTES:
        values = np.array([attribute.asked(each) for each in asked])
        values = values[~np.isnan(values)]
        if len(values) >= FEWEST and values.std() > 0:
            found.append(attribute.name)
    return found


def adherence(asked: Sequence[Mapping[str, float]], heard: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Prompts' attributes and what `hear` found -> agreement by attribute, and "all": their mean."""
    found = {}
    for attribute in ATTRIBUTES:
        if heard and attribute.name in heard[0]:
            pairs = np.array([(attribute.asked(a), h[attribute.name]) for a, h in zip(asked, heard)])
            pairs = pairs[~np.isnan(pairs[:, 0])]
            missing = np.isnan(pairs[:, 1])
            pairs[missing, 1] = np.inf  # asked for and not heard at all: met by nothing, ranked last
            if len(pairs) >= FEWEST:
                found[attribute.name] = attribute.agreement(pairs[:, 0], pairs[:, 1])
    return found | ({"all": float(np.mean(list(found.values())))} if found else {})


def measure_adherence(asked: Sequence[Mapping[str, float]], heard: Sequence[Mapping[str, float]],
                      groups: Sequence[int] | None = None) -> list[Measured]:
    """`adherence`, by names as "adherence" and "adherence: tempo", with intervals."""
    def drawn(name: str) -> Interval:
        return mean_interval(range(len(asked)), groups, draws=60, centre=lambda rows: adherence(
            [asked[int(i)] for i in rows], [heard[int(i)] for i in rows]).get(name, math.nan))

    return [Measured(metric_name(name), value, *drawn(name)) for name, value in adherence(asked, heard).items()]


def metric_name(attribute: str) -> str:
    return "adherence" if attribute == "all" else f"adherence: {attribute}"


def swapped(count: int) -> list[int]:
    """Another's prompt for every clip: the one half of the clips away, so that it is of another piece."""
    return [(i + max(1, count // 2)) % count for i in range(count)]
