import math

import pytest
import torch

from orchestrion.codecs.spectral import SpectralCodecConfig
from orchestrion.objectives.reconstruction import ReconstructionConfig, by_pitch
from orchestrion.systems.system import SystemConfig

RATE = 44_100


@pytest.fixture(scope="module")
def objective():
    codec = SpectralCodecConfig(channels=1, latents=4, width=8, depth=2, deep_width=8, deep_depth=1)
    return ReconstructionConfig().build(SystemConfig(codec=codec).build())


def sine(hertz: float, decibels: float = -12.0) -> torch.Tensor:
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    return (10 ** (decibels / 20) * torch.sin(2 * math.pi * hertz * time)).float()[None, None]


def test_octaves_weigh_alike_where_the_notes_are():
    weights, hertz = by_pitch(RATE, 16384), torch.linspace(0, RATE / 2, 8193)
    octaves = [weights[(hertz >= 110 * 2**i) & (hertz < 110 * 2 ** (i + 1))].sum().item() for i in range(5)]
    assert weights.sum() == pytest.approx(1)
    assert max(octaves) < 1.03 * min(octaves)
    assert weights[(hertz < 30) | (hertz > 5_000)].sum() == 0


def test_the_same_clip_costs_nothing(objective):
    clip = sine(220)
    assert all(loss.item() == 0 for loss in objective.compare(clip, clip).values())


def test_a_wrong_note_costs_more_by_pitch_than_hiss_of_one_level(objective):
    clip = sine(220)
    flat = objective.compare(clip, sine(233.1))
    hiss = objective.compare(clip, clip + 1e-3 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0)))
    # hiss fills every bin, a semitone moves a few; only by pitch does the note outweigh it
    assert flat["log_magnitude"] < hiss["log_magnitude"]
    assert flat["partials"] > hiss["partials"]


def test_gradients_reach_the_sound(objective):
    made = sine(233.1).requires_grad_()
    sum(objective.compare(sine(220), made).values()).backward()
    assert made.grad is not None and made.grad.isfinite().all() and made.grad.abs().sum() > 0


def test_flux_hears_strikes_that_are_not_there_and_no_steady_error():
    """A tone 3 dB too loud is wrong by level alone; one that jumps by 3 dB and fades again, four times a
    second, sounds struck again."""
    codec = SpectralCodecConfig(channels=1, latents=4, width=8, depth=2, deep_width=8, deep_depth=1)
    objective = ReconstructionConfig(flux=1.0).build(SystemConfig(codec=codec).build())
    clip, time = sine(440, -9.0), torch.arange(RATE) / RATE
    louder = objective.compare(clip, 10 ** (3 / 20) * clip)
    struck = objective.compare(clip, clip * 10 ** (3 / 20 * torch.exp(-2 * (4 * time % 1.0))))
    assert struck["flux"] > 20 * louder["flux"]
    assert "flux" not in ReconstructionConfig().build(SystemConfig(codec=codec).build()).compare(clip, clip)
