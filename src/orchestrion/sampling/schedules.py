"""Schedules: which levels of a path a solver visits, from noise to data. A solver never makes its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrion.errors import UserError, did_you_mean
from orchestrion.sampling.paths import Level, Path


@dataclass(frozen=True)
class Schedule:
    """Levels of `path`, noisier ones first. The last is usually the data itself, σ = 0."""

    path: Path
    levels: tuple[Level, ...]

    @property
    def steps(self) -> int:
        return len(self.levels) - 1

    def from_strength(self, strength: float) -> "Schedule":
        """The end of this schedule that `strength` (0 to 1) of its steps make; at least its last level."""
        return Schedule(self.path, self.levels[self.steps - round(strength * self.steps):])

    def part(self, start: int, stop: int) -> "Schedule":
        """The levels `start` to `stop`, both included."""
        return Schedule(self.path, self.levels[start : stop + 1])


def at_times(path: Path, times: Sequence[float]) -> Schedule:
    return Schedule(path, tuple(path.level(time) for time in times))


def even(path: Path, steps: int) -> Schedule:
    """Evenly in the path's time, from its end to 0."""
    _check(steps)
    return at_times(path, [path.end * (1 - i / steps) for i in range(steps + 1)])


def karras(path: Path, steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Schedule:
    """Evenly in (σ/α)^(1/ρ), then one step to the data (Karras et al. 2022, eq. 5). ρ = 7 spends most near the data."""
    _check(steps)
    high = min(sigma_max, path.level(path.end).ratio) ** (1 / rho)
    low = sigma_min ** (1 / rho)
    ratios = [(high + i / max(steps - 1, 1) * (low - high)) ** rho for i in range(steps)]
    return Schedule(path, (*(path.level_at(ratio) for ratio in ratios), path.level(0.0)))


def log_snr(path: Path, steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0) -> Schedule:
    """Evenly in λ = ln(α/σ), then one step to the data (Lu et al. 2022, DPM-Solver, §3.3)."""
    _check(steps)
    high, low = math.log(min(sigma_max, path.level(path.end).ratio)), math.log(sigma_min)
    ratios = [math.exp(high + i / max(steps - 1, 1) * (low - high)) for i in range(steps)]
    return Schedule(path, (*(path.level_at(ratio) for ratio in ratios), path.level(0.0)))


def leading(path: Path, steps: int) -> Schedule:
    """As diffusers spaces the steps of a model of T: each whole T/steps from the data on, the noisiest left out."""
    return at_times(path, [*_whole(path, steps, 1), 0.0])


def stable(path: Path, steps: int) -> Schedule:
    """As published latent diffusion spaces them: like `leading`, each a level noisier, and the last step ends at the
    least noisy level, not at the data (diffusers' steps_offset 1, set_alpha_to_one false)."""
    return at_times(path, [*_whole(path, steps, 2), path.end / getattr(path, "steps", 1000)])


def _whole(path: Path, steps: int, first: int) -> list[float]:
    """Times of every whole T/steps-th of a model's T levels, `first` (from 1) being the last."""
    _check(steps)
    total = getattr(path, "steps", 1000)
    if steps > total:
        raise UserError(f"this model has {total} noise levels: it can't be sampled in {steps} steps")
    return [min(i * (total // steps) + first, total) / total * path.end for i in reversed(range(steps))]


SCHEDULES: dict[str, Any] = {"even": even, "leading": leading, "stable": stable, "karras": karras, "log-snr": log_snr}


def find_schedule(name: str) -> Any:
    """One of SCHEDULES: (path, steps) -> Schedule."""
    if name not in SCHEDULES:
        raise UserError(f"there is no schedule {name!r}; {did_you_mean(name, SCHEDULES)}")
    return SCHEDULES[name]


def _check(steps: int) -> None:
    if steps < 1:
        raise UserError(f"sampling takes at least 1 step, got {steps}")
