"""Solvers of diffusion against a Gaussian target, whose flow and marginals are known exactly."""

import math
from itertools import pairwise

import pytest
import torch
from gaussian import DEVIATION, MEAN, flow, predict, spread_at

from orchestrion.errors import UserError
from orchestrion.sampling import solvers as flow_solvers
from orchestrion.sampling.diffusion import SOLVERS, add_noise, find_solver, posterior_deviation, renoise
from orchestrion.sampling.paths import Angle, Cosine, Linear, ScaledLinear, Straight, VarianceExploding
from orchestrion.sampling.schedules import Schedule, even, karras, log_snr

PATHS = [Linear(), ScaledLinear(), Cosine(), Cosine(zero_terminal=True), Angle(), Straight(), VarianceExploding()]
EVERY_PATH = pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__ + "0" * getattr(p, "zero_terminal",
                                                                                                   False))


def schedule_of(path, steps) -> Schedule:
    """To a fixed small amount of noise, so that all steps are of one kind."""
    whole = karras(path, steps, sigma_min=0.05, sigma_max=20.0)
    return whole.part(0, steps - 1)


def no_noise():
    raise AssertionError("a deterministic solver drew noise")


def error(name, path, steps) -> float:
    schedule = schedule_of(path, steps)
    x = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    made = SOLVERS[name](predict, x, schedule, no_noise)
    return (made - flow(x, schedule.levels[0], schedule.levels[-1])).abs().max().item()


@EVERY_PATH
@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm-2m", 2)])
def test_order_of_convergence(name, order, path):
    ratio = error(name, path, 65) / error(name, path, 129)
    assert 2 ** (order - 0.25) < ratio < 2 ** (order + 0.5)


def law(name, schedule) -> tuple[float, float]:
    """Mean and deviation of what a solver makes of exact x, without sampling: with a linear network each clip is an
    affine function of the starting x and of every noise drawn, and the gradient tells its coefficients."""
    first = schedule.levels[0]
    start = torch.full((1, 1), first.alpha * MEAN, dtype=torch.float64, requires_grad=True)
    drawn = []

    def draw():
        drawn.append(torch.zeros(1, 1, dtype=torch.float64, requires_grad=True))
        return drawn[-1]

    made = SOLVERS[name](predict, start, schedule, draw)
    pulls = torch.autograd.grad(made.sum(), [start, *drawn])
    variance = (pulls[0] * spread_at(first)).square() + sum(p.square() for p in pulls[1:])
    return made.item(), variance.sqrt().item()


@EVERY_PATH
@pytest.mark.parametrize(("name", "within"), [("ddpm", 0.06), ("adpm2", 0.02)])
def test_ancestral_solvers_reach_the_target_law(name, within, path):
    schedule = schedule_of(path, 129)
    last = schedule.levels[-1]
    mean, deviation = law(name, schedule)
    assert mean == pytest.approx(last.alpha * MEAN, abs=1e-6)  # the mean is carried exactly
    off = abs(deviation / spread_at(last) - 1)
    coarse = abs(law(name, schedule_of(path, 65))[1] / spread_at(last) - 1)
    assert off < within and off < 0.6 * coarse


@pytest.mark.parametrize("name", ["ddim", "euler", "heun", "dpm-2m", "ddpm", "adpm2"])
@pytest.mark.parametrize("path", [Angle(), Straight(), Cosine(zero_terminal=True)], ids=lambda p: type(p).__name__)
def test_from_pure_noise_to_the_data(name, path):
    """From α = 0 to σ = 0, where ratios and their logarithms are infinite."""
    schedule = even(path, 256)
    assert schedule.levels[0].alpha == 0 and schedule.levels[-1].sigma == 0
    mean, deviation = law(name, schedule)
    assert mean == pytest.approx(MEAN, abs=0.02) and deviation == pytest.approx(DEVIATION, rel=0.05)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_the_flows_solvers_are_the_straight_path(name):
    """The flow's time runs from noise to data: t = 1 - ours, and velocity = data - noise."""
    x = torch.tensor([[0.3]], dtype=torch.float64)
    schedule = even(Straight(), 10)

    def velocity(x, time):
        made = predict(x, Straight().level(1 - time))
        return made.data - made.noise

    other = flow_solvers.find_solver(name)(velocity, x, flow_solvers.even_times(10), None)
    assert torch.allclose(SOLVERS[name](predict, x, schedule, no_noise), other, atol=1e-12)


def test_ddpm_steps_are_the_posterior_of_the_textbook():
    """β̃ = (1 - ᾱ')/(1 - ᾱ)·β (Ho et al. 2020, eq. 7)."""
    path = Linear()
    now, then = path.level(0.5), path.level(0.499)
    beta = 1 - (now.alpha / then.alpha) ** 2
    assert posterior_deviation(now, then) ** 2 == pytest.approx((then.sigma / now.sigma) ** 2 * beta, rel=1e-9)


def test_renoising_gives_the_marginal_of_the_noisier_level():
    path = Angle()
    now, back = path.level(0.3), path.level(0.6)
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(100_000, generator=generator, dtype=torch.float64)  # noqa: E731
    x = renoise(add_noise(MEAN + DEVIATION * draw(), draw(), now), draw, now, back)
    assert x.mean().item() == pytest.approx(back.alpha * MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(spread_at(back), rel=0.01)


def test_schedules_run_from_noise_to_data():
    for make in (even, karras, log_snr):
        schedule = make(Angle(), 20)
        sigmas = [level.sigma for level in schedule.levels]
        assert schedule.steps == 20 and sigmas == sorted(sigmas, reverse=True) and sigmas[-1] == 0
    rooted = [level.ratio ** (1 / 7) for level in karras(VarianceExploding(), 20).levels[:-1]]
    steps = [a - b for a, b in pairwise(rooted)]
    assert max(steps) - min(steps) < 1e-9 and rooted[0] == pytest.approx(80 ** (1 / 7))
    logs = [level.log_snr for level in log_snr(Linear(), 20, sigma_max=50).levels[:-1]]
    assert logs[1] - logs[0] == pytest.approx(logs[-1] - logs[-2], rel=1e-6)


def test_strength_takes_the_end_of_a_schedule():
    schedule = even(Angle(), 10)
    assert schedule.from_strength(1) == schedule
    assert schedule.from_strength(0.3).levels == schedule.levels[7:]
    assert schedule.from_strength(0).levels == schedule.levels[-1:]
    x = torch.randn(1, 3)
    assert find_solver("heun")(predict, x, schedule.from_strength(0), no_noise) is x


def test_nonsense_is_refused():
    with pytest.raises(UserError, match="at least 1 step"):
        even(Angle(), 0)
    with pytest.raises(UserError, match="did you mean 'dpm-2m'"):
        find_solver("dpm2m")
    assert math.isinf(Angle().level(1.0).ratio)
