"""Solvers against closed forms: known equations, their order of convergence, and a Gaussian target."""

import math

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.sampling.solvers import SOLVERS, even_times, find_solver


def error(name: str, steps: int) -> float:
    """dx/dt = x·cos(4t) from 1: x(1) = exp(sin(4) / 4)."""
    x = SOLVERS[name](lambda x, t: x * math.cos(4 * t), torch.ones(1, dtype=torch.float64), even_times(steps), None)
    return abs(x.item() - math.exp(math.sin(4) / 4))


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("midpoint", 2), ("adams", 2)])
def test_order_of_convergence(name, order):
    # Heun's last step is a single evaluation: one step of first order adds an error of second order, h²
    ratio = error(name, 64) / error(name, 128)
    assert 2 ** (order - 0.3) < ratio < 2 ** (order + 0.5)


@pytest.mark.parametrize(("name", "evaluations"), [("heun", 2), ("midpoint", 2), ("adams", 1)])
def test_second_order_beats_first_at_equal_evaluations(name, evaluations):
    assert error(name, 32 // evaluations) < error("euler", 32) / 2


def test_adams_is_second_order_at_uneven_times_too():
    """dx/dt = 2t is a line in t: after Euler's first step, every step is exact, so that the first's h² remains."""
    times = even_times(9, shift=3.0)
    told = []
    start = torch.zeros(1, dtype=torch.float64)
    x = find_solver("adams")(lambda x, t: told.append(t) or x.new_full((1,), 2 * t), start, times, None)
    assert x.item() == pytest.approx(1 - times[1] ** 2, abs=1e-12)
    assert told == times[:-1]  # one evaluation a step


def test_a_rectified_flow_carries_noise_to_a_gaussian_target():
    """Between N(0, 1) and N(m, s²) the exact velocity is known; sampling with it must give N(m, s²)."""
    m, s = 1.5, 0.4

    def velocity(x, t):
        variance = (1 - t) ** 2 + (t * s) ** 2
        return m + (t * s**2 - (1 - t)) / variance * (x - t * m)

    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = find_solver("heun")(velocity, noise, even_times(64), None)
    assert torch.allclose(made, m + s * noise, atol=5e-3)  # the map is monotone and linear


def test_times_run_from_noise_to_data_and_shift_towards_noise():
    assert even_times(4) == [0, 0.25, 0.5, 0.75, 1]
    shifted = even_times(4, shift=3.0)
    assert (shifted[0], shifted[-1]) == (0, 1) and all(a < b for a, b in zip(shifted[1:-1], even_times(4)[1:-1]))


def test_nonsense_is_refused():
    with pytest.raises(UserError, match="at least 1 step"):
        even_times(0)
    with pytest.raises(UserError, match="did you mean 'euler'"):
        find_solver("eulr")
