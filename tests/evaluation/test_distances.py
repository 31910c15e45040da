"""Distances against closed forms: what a known change must cost, exactly."""

import math

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.evaluation.constant_q import constant_q_l1
from orchestrion.evaluation.log_mel import log_mel, log_mel_l1
from orchestrion.evaluation.multi_resolution import stft_distance, stft_distances
from orchestrion.evaluation.reconstruction import DISTANCES, distances
from orchestrion.evaluation.si_sdr import si_sdr
from orchestrion.evaluation.signals import magnitudes
from orchestrion.evaluation.spectral_convergence import spectral_convergence

RATE = 44_100


def noise(seconds: float = 2.0, level: float = 0.1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(1, round(seconds * RATE), generator=generator, dtype=torch.float64)


def chord(seconds: float = 2.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return sum(0.1 * torch.sin(2 * math.pi * f * time) for f in (220.0, 277.2, 329.6, 880.0))[None]


def test_a_gain_costs_its_logarithm_in_log_mel():
    assert log_mel_l1(noise(), 0.5 * noise(), RATE) == pytest.approx(math.log(2), rel=1e-9)


def test_white_noise_has_about_its_own_level_in_every_mel_band():
    bands = log_mel(noise(4.0)[0], RATE).exp().square().mean(1).sqrt()
    # A band is a weighted mean of |STFT|, of which a Rayleigh mean is 0.886 of the root mean square; window
    # energy sqrt(768) and filters' area 1/21.5 Hz give 1.14 in all.
    assert bands[60:].div(0.1).sub(1.14).abs().max() < 0.1


def test_the_logarithm_of_mel_is_floored():
    assert log_mel(torch.zeros(RATE, dtype=torch.float64), RATE).unique().tolist() == [math.log(1e-4)]


@pytest.mark.parametrize("window", [512, 16384])
def test_noise_keeps_its_deviation_in_every_window(window):
    inner = magnitudes(noise(8.0)[0], window, window // 4)[1:-1, 4:-4]
    assert inner.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.02)


def test_a_gain_costs_one_share_and_its_logarithm_in_every_window():
    for window, value in stft_distances(noise(), 0.9 * noise()).items():
        assert value == pytest.approx(0.1 - math.log(0.9), rel=2e-3), window


def test_spectral_convergence_of_silence_is_one_and_of_a_gain_its_share():
    assert spectral_convergence(noise(), 0 * noise()) == pytest.approx(1)
    assert spectral_convergence(noise(), 1.25 * noise()) == pytest.approx(0.25)


def test_a_gain_costs_its_logarithm_in_constant_q():
    loud = noise(4.0)  # louder, since the floor of 60 dB would hold a softer one up
    assert constant_q_l1(loud, 2 * loud, RATE) == pytest.approx(math.log(2), rel=1e-3)


def test_what_lies_60_db_under_the_peak_costs_nothing_in_constant_q():
    hiss = noise(level=1e-7)
    assert constant_q_l1(chord(), chord() + hiss, RATE) < 1e-3
    assert constant_q_l1(chord(), chord() + noise(level=1e-2), RATE) > 0.5


def test_constant_q_and_long_windows_hear_a_quarter_tone_that_short_windows_miss():
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    low, bent = (0.3 * torch.sin(2 * math.pi * f * time)[None] for f in (110.0, 110.0 * 2 ** (1 / 24)))
    assert stft_distance(low, bent, 16384) > 3 * stft_distance(low, bent, 512)
    assert constant_q_l1(low, bent, RATE) > 10 * constant_q_l1(low, low * 1.01, RATE)


def test_si_sdr_of_uncorrelated_noise_is_the_ratio_of_powers_whatever_the_gain():
    real = noise(10.0)
    made = real + 0.1 * noise(10.0, seed=1)
    assert si_sdr(real, made) == pytest.approx(20, abs=0.1)
    assert si_sdr(real, -3 * made) == pytest.approx(si_sdr(real, made), abs=1e-6)


def test_si_sdr_of_a_quarter_period_is_far_below_zero():
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    sine, cosine = torch.sin(2 * math.pi * 441 * time), torch.cos(2 * math.pi * 441 * time)
    assert si_sdr(sine, cosine) < -100


def test_the_same_clip_has_no_distance():
    figures = distances(noise(), noise(), RATE)
    assert figures.pop("SI-SDR") > 60
    assert all(value == 0 for value in figures.values())


def test_more_noise_is_farther_by_every_distance():
    clip = chord()
    steps = [distances(clip, clip + noise(level=level), RATE) for level in (1e-3, 1e-2, 1e-1)]
    for metric in DISTANCES:
        for figure in metric([clip], [clip], RATE):
            values = [step[figure.name] * (1 if figure.better == "lower" else -1) for step in steps]
            assert values == sorted(values) and len(set(values)) == 3, figure.name


def test_a_lower_low_pass_is_farther_by_every_spectral_distance():
    clip = noise()
    steps = [distances(clip, low_pass(clip, cutoff), RATE) for cutoff in (12_000, 6_000, 2_000)]
    for name in ("log-mel L1", "STFT 512-16384", "constant-Q L1", "spectral convergence"):
        values = [step[name] for step in steps]
        assert values == sorted(values), name


def low_pass(clip: torch.Tensor, cutoff: float) -> torch.Tensor:
    spectrum = torch.fft.rfft(clip)
    spectrum[..., round(cutoff * clip.shape[-1] / RATE) :] = 0
    return torch.fft.irfft(spectrum, clip.shape[-1])


def test_clips_are_averaged_and_batches_taken_apart():
    pair, loud = torch.stack([noise(), noise(seed=1)]), torch.stack([2 * noise(), noise(seed=1)])
    assert distances(pair, loud, RATE)["log-mel L1"] == pytest.approx(math.log(2) / 2, rel=1e-6)


@pytest.mark.parametrize(("made", "word"), [
    (noise(1.0), "same length"),
    (torch.full((1, 2 * RATE), math.nan), "NaN"),
    (torch.zeros(2, 1, 2 * RATE, 1), "shape"),
])
def test_what_cannot_be_compared_is_refused(made, word):
    with pytest.raises(UserError, match=word):
        log_mel_l1(noise(), made, RATE)


def test_as_many_reconstructions_as_originals_are_wanted():
    with pytest.raises(UserError, match="paired"):
        distances([noise()], [noise(), noise()], RATE)
