"""Seams: what is put into a joint is found there, and nothing is found where nothing is."""

import math

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.evaluation.seams import elsewhere, jumps, seams

RATE = 44_100
JOINTS = list(range(RATE, 51 * RATE, RATE // 2))  # 100


def sound() -> torch.Tensor:
    """52 s of noise whose level wanders, `[t]`."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(52 * RATE, generator=generator, dtype=torch.float64)
    wander = torch.nn.functional.interpolate(torch.randn(1, 1, 500, generator=generator, dtype=torch.float64),
                                             len(noise), mode="linear")[0, 0]
    return 0.05 * noise * torch.exp(0.5 * wander)


def figures(clip: torch.Tensor) -> dict[str, bool]:
    return {figure.name: figure.holds for figure in seams([clip], [JOINTS], RATE)}


def test_joints_of_nothing_pass():
    assert figures(sound()) == {"level jump": True, "spectral jump": True, "click": True}


def test_windows_of_different_level_fail():
    clip = sound()
    for i, joint in enumerate(JOINTS):
        clip[joint : joint + RATE // 2] *= 1.5 if i % 2 else 1
    assert not figures(clip)["level jump"]


def test_windows_of_different_colour_fail_without_a_jump_of_level():
    clip = sound()
    other = low_pass(clip)
    other *= clip.square().mean().sqrt() / other.square().mean().sqrt()
    for joint in JOINTS[::2]:
        clip[joint : joint + RATE // 2] = other[joint : joint + RATE // 2]
    found = figures(clip)
    assert not found["spectral jump"] and found["level jump"]


def low_pass(clip: torch.Tensor) -> torch.Tensor:
    spectrum = torch.fft.rfft(clip)
    gain = torch.ones(len(spectrum))
    gain[len(spectrum) // 2 :] = 0.3
    return torch.fft.irfft(spectrum * gain, len(clip))


def test_clicks_fail():
    time = torch.arange(52 * RATE, dtype=torch.float64) / RATE
    clip = 0.2 * torch.sin(2 * math.pi * 220 * time) * (1 + 0.2 * torch.sin(time)) + 1e-4 * sound()
    assert figures(clip)["click"]
    for joint in JOINTS:
        clip[joint:] += 0.01 * (-1) ** (joint // (RATE // 2))  # a step
    assert not figures(clip)["click"]


def test_a_doubled_level_is_six_decibels():
    clip = torch.sin(torch.arange(RATE, dtype=torch.float64) * math.pi / 8)  # 2048 samples: whole periods
    clip[RATE // 2 :] *= 2
    assert jumps(clip, [RATE // 2], RATE).level.item() == pytest.approx(20 * math.log10(2), abs=0.01)


def test_elsewhere_is_away_from_joints_and_ends():
    places = torch.tensor(elsewhere(10 * RATE, [3 * RATE, 7 * RATE], RATE))
    for joint in (0, 3 * RATE, 7 * RATE, 10 * RATE):
        assert (places - joint).abs().min() >= (2048 if joint in (0, 10 * RATE) else 0.25 * RATE)
    assert len(places) > 80


def test_too_few_joints_are_refused():
    with pytest.raises(UserError, match="99 joints"):
        seams([sound()], [JOINTS[:99]], RATE)
