"""Solvers of diffusion: pure functions from noise to data over a schedule.

The probability-flow equation of any path is dx = data(x)·dα + noise(x)·dσ, where data and noise are what the
network believes at x (`Prediction`). So a solver needs neither the path's derivative nor its time; Euler's step
is DDIM's, and over the straight path these are the flow's own solvers (`solvers.py`).
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from orchestrion.errors import UserError, did_you_mean
from orchestrion.sampling.parameterisations import Prediction
from orchestrion.sampling.paths import Level
from orchestrion.sampling.schedules import Schedule

Predict = Callable[[Tensor, Level], Prediction]
Draw = Callable[[], Tensor]  # fresh normal noise of x's shape
Tell = Callable[[int], None]  # told the number of steps done


class Solver(Protocol):
    """x at the schedule's first level -> x at its last."""

    def __call__(self, predict: Predict, x: Tensor, schedule: Schedule, draw: Draw,
                 tell: Tell | None = None) -> Tensor: ...


def ddim(predict: Predict, x: Tensor, schedule: Schedule, draw: Draw, tell: Tell | None = None,
         eta: float = 0.0) -> Tensor:
    """First order (Song et al. 2020, arXiv 2010.02502, eq. 12). eta: 0 draws no noise, 1 is DDPM."""
    for i, (now, then) in enumerate(pairwise(schedule.levels)):
        data, noise = predict(x, now)
        fresh = eta * posterior_deviation(now, then)
        x = then.alpha * data + math.sqrt(max(then.sigma**2 - fresh**2, 0)) * noise
        if fresh:
            x = x + fresh * draw()
        if tell:
            tell(i + 1)
    return x


ddpm: Solver = partial(ddim, eta=1.0)
"""Ancestral sampling with the posterior's variance (Ho et al. 2020, algorithm 2, σ² = β̃)."""


def euler(predict: Predict, x: Tensor, schedule: Schedule, draw: Draw, tell: Tell | None = None) -> Tensor:
    """First order, deterministic: the same as DDIM with eta 0."""
    for i, (now, then) in enumerate(pairwise(schedule.levels)):
        x = along(x, predict(x, now), now, then)
        if tell:
            tell(i + 1)
    return x


def heun(predict: Predict, x: Tensor, schedule: Schedule, draw: Draw, tell: Tell | None = None) -> Tensor:
    """Second order: two evaluations a step, but one where a step ends at the data (Karras et al. 2022, algorithm 1)."""
    for i, (now, then) in enumerate(pairwise(schedule.levels)):
        here = predict(x, now)
        ahead = along(x, here, now, then)
        if then.sigma:
            there = predict(ahead, then)
            ahead = along(x, Prediction((here.data + there.data) / 2, (here.noise + there.noise) / 2), now, then)
        x = ahead
        if tell:
            tell(i + 1)
    return x


def dpm_2m(predict: Predict, x: Tensor, schedule: Schedule, draw: Draw, tell: Tell | None = None) -> Tensor:
    """DPM-Solver++ 2M: second order with one evaluation a step, by the step before (Lu et al. 2022, arXiv 2211.01095,
    algorithm 2). Steps from pure noise and to the data are of first order."""
    before: tuple[Tensor, float] | None = None  # the data predicted a step ago, and that step's size in λ
    for i, (now, then) in enumerate(pairwise(schedule.levels)):
        data = predict(x, now).data
        size = then.log_snr - now.log_snr
        better = data
        if before is not None and math.isfinite(size) and math.isfinite(before[1]):
            better = data + size / (2 * before[1]) * (data - before[0])
        # x' = σ'/σ·x + (α' - α·σ'/σ)·data, their eq. 9 in our letters
        shrink = then.sigma / now.sigma
        x = shrink * x + (then.alpha - now.alpha * shrink) * better
        before = (data, size)
        if tell:
            tell(i + 1)
    return x


def adpm2(predict: Predict, x: Tensor, schedule: Schedule, draw: Draw, tell: Tell | None = None) -> Tensor:
    """Ancestral second order: a midpoint step to less noise than wanted, then fresh noise on top (Karras et al. 2022's
    code as in k-diffusion's DPM2 ancestral; Moûsai's ADPM2, there with ρ = 1, here the geometric middle)."""
    for i, (now, then) in enumerate(pairwise(schedule.levels)):
        if not math.isfinite(now.ratio):  # from pure noise: one step of DDPM, which is exact there
            x = ddpm(predict, x, Schedule(schedule.path, (now, then)), draw)
        else:
            fresh = posterior_deviation(now, then) / then.alpha
            down = math.sqrt(max(then.ratio**2 - fresh**2, 0))
            noise = predict(x, now).noise
            clean = x / now.alpha  # data + ratio·noise, whose derivative by the ratio is the noise
            if down:
                middle = schedule.path.level_at(math.sqrt(now.ratio * down))
                half = clean + (middle.ratio - now.ratio) * noise
                noise = predict(middle.alpha * half, middle).noise
            x = then.alpha * (clean + (down - now.ratio) * noise + (fresh * draw() if fresh else 0.0))
        if tell:
            tell(i + 1)
    return x


def along(x: Tensor, prediction: Prediction, now: Level, then: Level) -> Tensor:
    """dx = data·dα + noise·dσ, over one step."""
    return x + (then.alpha - now.alpha) * prediction.data + (then.sigma - now.sigma) * prediction.noise


def posterior_deviation(now: Level, then: Level) -> float:
    """√β̃: how much of x at `then` is open when x at `now` and the data are known."""
    added = now.sigma**2 - (now.alpha / then.alpha * then.sigma) ** 2
    return then.sigma / now.sigma * math.sqrt(max(added, 0))


def add_noise(data: Tensor, noise: Tensor, level: Level) -> Tensor:
    """Data `[b …]` -> x at `level`."""
    return level.alpha * data + level.sigma * noise


def renoise(x: Tensor, draw: Draw, now: Level, back: Level) -> Tensor:
    """x at `now` -> x at the noisier level `back`, as the forward process would have it."""
    kept = back.alpha / now.alpha
    return kept * x + math.sqrt(max(back.sigma**2 - (kept * now.sigma) ** 2, 0)) * draw()


SOLVERS: dict[str, Solver] = {"ddim": ddim, "ddpm": ddpm, "euler": euler, "heun": heun, "dpm-2m": dpm_2m,
                              "adpm2": adpm2}


def find_solver(name: str) -> Solver:
    if name not in SOLVERS:
        raise UserError(f"there is no solver {name!r}; {did_you_mean(name, SOLVERS)}")
    return SOLVERS[name]
