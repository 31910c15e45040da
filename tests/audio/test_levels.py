import math

import pytest
import soxr
import torch

from orchestrion.audio.levels import below_ceiling, ceiling_gain, from_decibels, true_peak


def band_limited(seed):
    noise = 0.3 * torch.randn(30_000, generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(soxr.resample(noise.numpy(), 30_000, 44_100))


@pytest.mark.parametrize("seed", range(4))
def test_true_peak_agrees_with_oversampling_the_whole(seed):
    audio = band_limited(seed)
    expected = abs(soxr.resample(audio.numpy(), 1, 4)).max()
    assert true_peak(audio) == pytest.approx(expected, rel=2e-3)


def test_peaks_between_samples_are_found():
    """A sine at a quarter of the rate, sampled at 45°: its samples reach 0.71, the sine itself 1."""
    time = torch.arange(4000, dtype=torch.float64)
    fade = torch.sin(math.pi * time / 4000)
    audio = (fade * torch.sin(math.pi / 2 * time + math.pi / 4)).float()
    assert audio.abs().max() < 0.708
    assert true_peak(audio) == pytest.approx(1.0, abs=0.01)


def test_what_is_too_loud_is_scaled_as_a_whole_to_the_ceiling():
    audio = torch.stack([3 * band_limited(1), band_limited(2)])
    made = below_ceiling(audio)
    assert true_peak(made) == pytest.approx(from_decibels(-0.3), rel=1e-4)
    assert torch.allclose(made / audio, (made / audio)[0, 0].expand_as(audio), rtol=1e-4)


def test_what_is_quiet_is_left_exactly_as_it_is():
    audio = 0.3 * band_limited(1)
    assert below_ceiling(audio) is audio
    assert ceiling_gain(0.0) == 1.0


def test_silence_and_nothing_have_no_peak():
    assert true_peak(torch.zeros(2, 100)) == 0
    assert true_peak(torch.zeros(2, 0)) == 0
    assert true_peak(torch.tensor([[0.5]])) == 0.5
