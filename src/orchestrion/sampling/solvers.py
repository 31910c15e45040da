"""Solvers of the ordinary differential equation dx/dt = velocity(x, t), from t = 0 (noise) to t = 1 (data).

Pure functions over a schedule of times, so that solvers and schedules combine freely.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from orchestrion.errors import UserError, did_you_mean

Velocity = Callable[[Tensor, float], Tensor]
Step = Callable[[int], None]  # told the number of steps done
Solver = Callable[[Velocity, Tensor, list[float], Step | None], Tensor]


def even_times(steps: int, shift: float = 1.0) -> list[float]:
    """`steps` + 1 times from 0 to 1. shift > 1 spends more of them near the noise
    (Esser et al. 2024, arXiv 2403.03206, eq. 23, with our t being one minus theirs)."""
    if steps < 1:
        raise UserError(f"sampling takes at least 1 step, got {steps}")
    even = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return (even / (even + shift * (1 - even))).tolist()


def euler(velocity: Velocity, x: Tensor, times: list[float], step: Step | None = None) -> Tensor:
    """First order: one evaluation a step."""
    for i, (now, then) in enumerate(pairwise(times)):
        x = x + (then - now) * velocity(x, now)
        if step:
            step(i + 1)
    return x


def heun(velocity: Velocity, x: Tensor, times: list[float], step: Step | None = None) -> Tensor:
    """Second order: two evaluations a step, the last one but a single (Karras et al. 2022, algorithm 1)."""
    for i, (now, then) in enumerate(pairwise(times)):
        slope = velocity(x, now)
        ahead = x + (then - now) * slope
        if i + 2 < len(times):
            slope = (slope + velocity(ahead, then)) / 2
            ahead = x + (then - now) * slope
        x = ahead
        if step:
            step(i + 1)
    return x


def midpoint(velocity: Velocity, x: Tensor, times: list[float], step: Step | None = None) -> Tensor:
    """Second order: two evaluations a step, the second in its middle."""
    for i, (now, then) in enumerate(pairwise(times)):
        half = x + (then - now) / 2 * velocity(x, now)
        x = x + (then - now) * velocity(half, (now + then) / 2)
        if step:
            step(i + 1)
    return x


def adams(velocity: Velocity, x: Tensor, times: list[float], step: Step | None = None) -> Tensor:
    """Second order at one evaluation a step: Adams and Bashforth's, for steps of any length (Hairer, Nørsett & Wanner,
    Solving Ordinary Differential Equations I, III.5). The line through the last two slopes, integrated over the step;
    the first step is Euler's."""
    before, length = x, 0.0
    for i, (now, then) in enumerate(pairwise(times)):
        slope, ahead = velocity(x, now), then - now
        turn = ahead / (2 * length) if length else 0.0
        x = x + ahead * (slope + turn * (slope - before))
        before, length = slope, ahead
        if step:
            step(i + 1)
    return x


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun, "midpoint": midpoint, "adams": adams}


def find_solver(name: str) -> Solver:
    if name not in SOLVERS:
        raise UserError(f"there is no solver {name!r}; {did_you_mean(name, SOLVERS)}")
    return SOLVERS[name]
