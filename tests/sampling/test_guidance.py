"""What is wrapped round a prediction: guidance, kept parts, windows, inversion."""

from itertools import pairwise

import pytest
import torch
from gaussian import MEAN, flow, predict

from orchestrion.sampling.diffusion import SOLVERS, add_noise
from orchestrion.sampling.guidance import (
    clipping,
    fade_window,
    guided,
    invert,
    keeping,
    resampled,
    slerp,
    window_starts,
    windowed,
)
from orchestrion.sampling.parameterisations import Prediction
from orchestrion.sampling.paths import Angle
from orchestrion.sampling.schedules import even

LEVEL = Angle().level(0.4)


def consistent(x, level, made) -> bool:
    return torch.allclose(level.alpha * made.data + level.sigma * made.noise, x, atol=1e-5)


def constant(value):
    return lambda x, level: Prediction(torch.full_like(x, value), (x - level.alpha * value) / level.sigma)


def test_guidance_goes_from_the_unprompted_through_the_prompted():
    x = torch.randn(2, 3, 8)
    for scale, wanted in ((0.0, 1.0), (1.0, 2.0), (3.0, 4.0)):
        made = guided(constant(2.0), constant(1.0), scale)(x, LEVEL)
        assert torch.allclose(made.data, torch.full_like(x, wanted)) and consistent(x, LEVEL, made)


def test_rescaled_guidance_is_as_loud_as_the_prompted():
    x = torch.randn(2, 3, 64)
    wanted = lambda x, level: Prediction(0.5 * x, (1 - 0.5 * level.alpha) / level.sigma * x)  # noqa: E731
    free = lambda x, level: Prediction(0.1 * x, (1 - 0.1 * level.alpha) / level.sigma * x)  # noqa: E731
    made = guided(wanted, free, 5.0, rescale=1.0)(x, LEVEL)
    assert torch.allclose(made.data.std((1, 2)), 0.5 * x.std((1, 2)), rtol=1e-4) and consistent(x, LEVEL, made)


def test_clipping_bounds_the_data_and_explains_x():
    x = torch.randn(2, 3, 8)
    made = clipping(constant(7.0), 1.0)(x, LEVEL)
    assert (made.data == 1).all() and consistent(x, LEVEL, made)
    kept = clipping(constant(7.0), 1.0, keep_noise=True)(x, LEVEL)
    assert torch.equal(kept.noise, constant(7.0)(x, LEVEL).noise)


@pytest.mark.parametrize("name", sorted(SOLVERS.keys() - {"adpm2"}))  # it forgets a prediction's data
def test_what_is_kept_comes_out_as_it_was(name):
    torch.manual_seed(0)
    source, noise = torch.randn(2, 1, 1, 20, dtype=torch.float64)
    keep = torch.arange(20) < 12
    schedule = even(Angle(), 16)
    made = SOLVERS[name](keeping(predict, source, noise, keep), noise, schedule, lambda: torch.randn_like(noise))
    assert torch.allclose(made[..., :12], source[..., :12], atol=1e-9)
    assert (made[..., 12:] - MEAN).abs().max() < 2.5 and not torch.allclose(made[..., 12:], source[..., 12:], atol=0.1)


def test_the_network_sees_what_is_kept_at_the_level_s_noise():
    source, noise = torch.ones(1, 1, 4), torch.full((1, 1, 4), 2.0)
    seen = []

    def spy(x, level):
        seen.append(x)
        return Prediction(torch.zeros_like(x), torch.zeros_like(x))

    keeping(spy, source, noise, torch.tensor([True, True, False, False]))(torch.zeros(1, 1, 4), LEVEL)
    assert torch.allclose(seen[0][..., :2], add_noise(source, noise, LEVEL)[..., :2])
    assert (seen[0][..., 2:] == 0).all()


def correlated(x, level):
    """Exact for a clip of two equal frames, each N(0, 1): what one frame is, the other is too."""
    a, s = level.alpha, level.sigma
    both = 2 * a / (2 * a**2 + s**2) * x.mean(-1, keepdim=True).expand_as(x)
    return Prediction(both, (x - a * both) / s)


def test_taking_steps_again_makes_what_is_new_fit_what_is_kept():
    """RePaint's claim: replacement alone only half agrees with what is kept; taken again, it agrees."""
    torch.manual_seed(0)
    source, noise = torch.randn(4000, 1, 1).expand(-1, 1, 2), torch.randn(4000, 1, 2)
    keep, schedule = torch.tensor([True, False]), even(Angle(), 12)
    off = []
    for times in (1, 8):
        solve = resampled(SOLVERS["ddpm"], times)
        made = solve(keeping(correlated, source, noise, keep), noise, schedule, lambda: torch.randn_like(noise))
        off.append((made[..., 1] - source[..., 1]).square().mean().item())
    assert off[1] < 0.7 * off[0]


def test_windows_cover_every_frame_and_overlap_enough():
    for frames in (65, 100, 128, 129, 1000):
        starts = window_starts(frames, 64, 16, loop=False)
        assert starts[0] == 0 and starts[-1] == frames - 64
        assert all(b - a <= 48 for a, b in pairwise(starts))
        round_ = window_starts(frames, 64, 16, loop=True)
        assert all(b - a <= 48 for a, b in zip(round_, [*round_[1:], frames]))
    assert (fade_window(64, 16) > 0).all() and fade_window(64, 16)[32] == 1


def test_windows_agree_where_the_network_does():
    """A network that treats every frame alike says in windows what it says of the whole."""
    x = torch.randn(2, 3, 5, 300)
    for loop in (False, True):
        made = windowed(predict, 64, 16, loop)(x, LEVEL)
        assert torch.allclose(made.data, predict(x, LEVEL).data, atol=1e-5)
        assert torch.allclose(made.noise, predict(x, LEVEL).noise, atol=1e-5)


def test_windows_fade_instead_of_jumping():
    """A network that says something else in each window gives no step larger than the fade's."""
    count = iter(range(100))

    def jumpy(x, level):
        return Prediction(torch.full_like(x, float(next(count) % 2)), torch.zeros_like(x))

    x = torch.zeros(1, 1, 400)
    assert windowed(jumpy, 64, 32)(x, LEVEL).data.diff().abs().max() < 2.5 / 32
    made = windowed(jumpy, 64, 32, loop=True)(x, LEVEL).data
    assert (made[..., 0] - made[..., -1]).abs().max() < 2.5 / 32  # the joint of the loop too


def test_inversion_finds_the_noise():
    """Against the closed form, and back again by the solver that it inverts."""
    schedule = even(Angle(), 400)
    data = torch.tensor([[1.2], [1.9]], dtype=torch.float64)
    noise = invert(predict, data, schedule)
    assert torch.allclose(noise, flow(data, schedule.levels[-1], schedule.levels[0]), atol=0.02)
    coarse = even(Angle(), 20)
    again = SOLVERS["euler"](predict, invert(predict, data, coarse), coarse, lambda: None)
    assert torch.allclose(again, data, atol=2e-3)


def test_slerp_keeps_noise_as_loud_as_noise():
    a, b = torch.randn(2, 1, 4, 5000)
    for share in (0.0, 0.25, 0.5, 1.0):
        assert slerp(a, b, share).std().item() == pytest.approx(1, abs=0.02)
    assert torch.allclose(slerp(a, b, 0.0), a, atol=1e-6) and torch.allclose(slerp(a, b, 1.0), b, atol=1e-6)
    assert torch.allclose(slerp(a, a, 0.3), a)
    straight = 0.5 * a + 0.5 * b
    assert straight.std() < 0.75  # what slerp is for
