"""Paths, parameterisations and weightings by their definitions."""

import math

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.sampling.parameterisations import (
    Preconditioned,
    PredictsData,
    PredictsNoise,
    PredictsV,
    PredictsVelocity,
)
from orchestrion.sampling.paths import Angle, Cosine, Linear, Path, ScaledLinear, Straight, VarianceExploding
from orchestrion.sampling.weighting import LogitNormal, LogNormal, MinSNR, Times, Weighting

PATHS = [Linear(), ScaledLinear(), Cosine(), Linear(zero_terminal=True), Angle(), Straight(), VarianceExploding()]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_a_path_runs_from_data_to_noise(path):
    times = torch.linspace(0, path.end, 2001, dtype=torch.float64)
    alpha, sigma = path.scales(times)
    assert (alpha[0], sigma[0]) == (1, 0) and (alpha.diff() <= 0).all() and (sigma.diff() >= -1e-12).all()
    for time in (0.01, 0.3, 0.77):
        level = path.level(time * path.end)
        assert path.time_at(level.ratio) == pytest.approx(level.time, rel=1e-6)
        assert path.level_at(level.ratio).alpha == pytest.approx(level.alpha, rel=1e-6)
    assert Path.from_dict(path.to_dict()) == path


def test_variance_preserving_tables_are_the_published_ones():
    """ᾱ_k = Π(1 - β): k counts from 0, at the time (k + 1)/T."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    for k in (0, 499, 999):
        assert Linear().level((k + 1) / 1000).alpha ** 2 == pytest.approx((1 - betas)[: k + 1].prod().item(), rel=1e-9)
    scaled = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2  # AudioLDM's
    path = ScaledLinear(first=0.0015, last=0.0195)
    assert path.level(0.5).alpha ** 2 == pytest.approx((1 - scaled)[:500].prod().item(), rel=1e-9)
    wanted = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert Cosine().level(0.5).alpha ** 2 == pytest.approx(wanted, rel=1e-9)


def test_zero_terminal_signal_to_noise():
    """The usual linear schedule leaves a trace of the data; rescaled, none, and the first level stays."""
    assert Linear().level(1.0).alpha == pytest.approx(0.00635, rel=0.01)
    path = Linear(zero_terminal=True)
    assert path.level(1.0).alpha == 0 and path.level(0.001).alpha == pytest.approx(Linear().level(0.001).alpha)


CASES = [(PredictsNoise(), Linear()), (PredictsData(), Cosine()), (PredictsV(), Angle()),
         (PredictsVelocity(), Straight()), (Preconditioned(data=0.7), VarianceExploding()),
         (Preconditioned(), Linear())]


@pytest.mark.parametrize(("kind", "path"), CASES, ids=lambda c: type(c).__name__)
def test_the_target_reads_back_as_data_and_noise(kind, path):
    data, noise = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    level = path.level(0.4 * path.end)
    x = level.alpha * data + level.sigma * noise
    made = kind.read(kind.target(data, noise, level.alpha, level.sigma), x, level.alpha, level.sigma)
    assert torch.allclose(made.data, data, atol=1e-9) and torch.allclose(made.noise, noise, atol=1e-9)
    off = kind.read(kind.target(data, noise, level.alpha, level.sigma) + 1, x, level.alpha, level.sigma)
    reach = torch.as_tensor(kind.reach(level.alpha, level.sigma), dtype=torch.float64)
    assert torch.allclose((off.data - data).abs(), reach.expand_as(data), atol=1e-9)
    kind.check(path)


def test_preconditioning_keeps_unit_variance_in_and_out():
    kind, path = Preconditioned(data=0.7), VarianceExploding()
    data, noise = 0.7 * torch.randn(200_000), torch.randn(200_000)
    for sigma in (0.01, 0.7, 40.0):
        inside, told = kind.enter(data + sigma * noise, sigma, 1.0, sigma)
        assert inside.std().item() == pytest.approx(1, rel=0.01)
        assert kind.target(data, noise, 1.0, sigma).std().item() == pytest.approx(1, rel=0.01)
        assert float(told) == pytest.approx(math.log(sigma) / 4)
    assert path.level(3.0).ratio == 3


def test_combinations_that_say_nothing_are_refused():
    for kind, path in ((PredictsNoise(), Angle()), (PredictsV(), Straight()), (PredictsVelocity(), Linear()),
                       (PredictsV(), VarianceExploding())):
        with pytest.raises(UserError):
            kind.check(path)


def test_min_snr_is_the_paper_s_for_every_parameterisation():
    """min(SNR, γ)/SNR for ε, min(SNR, γ) for x₀, min(SNR, γ)/(SNR + 1) for v (Hang et al. 2023, §3.4)."""
    alpha, sigma = Angle().scales(torch.tensor([0.1, 0.5, 0.9]))
    snr = (alpha / sigma) ** 2
    kept = snr.clamp_max(5)
    for kind, wanted in ((PredictsNoise(), kept / snr), (PredictsData(), kept), (PredictsV(), kept / (snr + 1))):
        assert torch.allclose(MinSNR().weigh(kind, alpha, sigma), wanted, rtol=1e-4)
    assert torch.equal(Weighting().weigh(PredictsV(), alpha, sigma), torch.ones(3))


def test_times_follow_their_laws():
    torch.manual_seed(0)
    times = Times().draw(4096, Angle(), torch.device("cpu"))
    assert times.sort().values.diff().max() < 3e-4  # evenly spread
    logit = torch.logit(LogitNormal(mean=0.5, spread=0.8).draw(4096, Straight(), torch.device("cpu")))
    assert logit.mean().item() == pytest.approx(0.5, abs=0.02) and logit.std().item() == pytest.approx(0.8, abs=0.02)
    ratios = LogNormal().draw(4096, VarianceExploding(), torch.device("cpu")).log()
    assert ratios.mean().item() == pytest.approx(-1.2, abs=0.02) and ratios.std().item() == pytest.approx(1.2, abs=0.03)
