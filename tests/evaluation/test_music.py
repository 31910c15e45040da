"""Music checks on sounds of which the answer is known."""

import math

import pytest
import torch

from orchestrion.evaluation.bars import bar_similarity
from orchestrion.evaluation.chroma import chroma, chroma_entropy, entropy
from orchestrion.evaluation.flatness import flatness
from orchestrion.evaluation.level_spread import level_spread, octave_levels
from orchestrion.evaluation.music import CHECKS, PIANO_BARS, medians, music_checks
from orchestrion.evaluation.onsets import match, onset_rate, onset_times
from orchestrion.evaluation.pulse import autocorrelation, pulse

RATE = 44_100
A, C, E = 220.0, 261.63, 329.63


def plucked(times: list[float], pitches: list[float], seconds: float) -> torch.Tensor:
    """Decaying tones with six partials, one pitch after the other: a plain piano `[t]`."""
    clip = torch.zeros(round(seconds * RATE), dtype=torch.float64)
    for i, start in enumerate(times):
        place = round(start * RATE)
        time = torch.arange(len(clip) - place, dtype=torch.float64) / RATE
        pitch = pitches[i % len(pitches)]
        tone = sum(torch.sin(2 * math.pi * pitch * k * time) / k**1.5 for k in range(1, 7))
        clip[place:] += 0.1 * tone * torch.exp(-3 * time) * (1 - torch.exp(-400 * time))
    return clip


def white(seconds: float = 6.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(round(seconds * RATE), generator=generator, dtype=torch.float64)


def test_onsets_are_found_where_notes_begin():
    times = [0.5, 0.9, 1.15, 2.0, 2.7, 2.95, 3.6, 4.4]
    found = onset_times(plucked(times, [A, C, E], 5.0), RATE).tolist()
    assert match(found, times, tolerance=0.03) == (1, 1, 1)


def test_a_chord_is_one_onset_and_level_does_not_matter():
    times = [0.5, 0.51, 0.52, 1.5, 1.51, 2.5]
    clip = plucked(times, [A, C, E], 4.0)
    assert onset_rate(clip, RATE) == onset_rate(0.01 * clip, RATE) == 3 / 4


def test_a_held_tone_and_silence_have_no_onsets():
    time = torch.arange(4 * RATE, dtype=torch.float64) / RATE
    tone = 0.3 * torch.sin(2 * math.pi * A * time)
    assert onset_rate(tone, RATE) == 0
    assert onset_rate(torch.zeros(RATE), RATE) == 0


def test_matching_takes_every_onset_once():
    assert match([1.0, 1.01], [1.0]) == pytest.approx((0.5, 1, 2 / 3))
    assert match([], [1.0]) == (0, 0, 0)
    assert match([0.2, 1.04], [0.0, 1.0, 2.0]) == pytest.approx((0.5, 1 / 3, 0.4))


def test_flatness_of_noise_is_that_of_rayleigh_magnitudes():
    # geometric / arithmetic mean of a Rayleigh variable: exp(-gamma/2) / (sqrt(pi)/2)
    assert flatness(white()) == pytest.approx(math.exp(-0.57722 / 2) * 2 / math.sqrt(math.pi), abs=0.01)


def test_flatness_of_tones_is_small_and_does_not_depend_on_level():
    clip = plucked([0.0, 1.0, 2.0], [A, C], 3.0)
    assert flatness(clip) < 0.02
    assert flatness(0.01 * clip) == pytest.approx(flatness(clip))
    assert flatness(torch.zeros(RATE)) == 1


def test_each_semitone_has_its_pitch_class():
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    for semitone in range(12):
        tone = torch.sin(2 * math.pi * 220 * 2 ** (semitone / 12) * time)
        share = chroma(tone, RATE)[:, 10:-10].sum(1)
        assert share.argmax() == semitone and share.max() > 0.95 * share.sum()


def test_entropy_is_the_logarithm_of_how_many_sound():
    assert entropy(torch.ones(12, 1)).item() == pytest.approx(math.log2(12))
    assert entropy(torch.eye(12)).abs().max().item() < 1e-6
    time = torch.arange(3 * RATE, dtype=torch.float64) / RATE
    chord = sum(torch.sin(2 * math.pi * A * 2 ** (step / 12) * time) for step in (0, 4, 7, 10))
    assert chroma_entropy(chord, RATE) == pytest.approx(2, abs=0.1)
    assert chroma_entropy(white(), RATE) > 3.3
    assert chroma_entropy(torch.zeros(RATE), RATE) == 0


def test_autocorrelation_of_a_repeating_series_is_one_at_its_period():
    series = torch.tensor([3.0, 1, 0, 1, 0], dtype=torch.float64).repeat(20)
    line = autocorrelation(series, 10)
    assert line[[0, 5, 10]].tolist() == pytest.approx([1, 1, 1])
    assert line[1:5].max() < 0.9


def test_a_machine_keeps_its_beat_and_a_drunkard_does_not():
    steady = plucked([0.5 * i for i in range(16)], [A], 8.0)
    clarity, period = pulse(steady, RATE)
    assert clarity > 0.9
    assert min(abs(period - beat) for beat in (0.5, 1.0, 1.5, 2.0)) < 0.02  # or a multiple of the beat
    generator = torch.Generator().manual_seed(3)
    astray = sorted((8 * torch.rand(16, generator=generator, dtype=torch.float64)).tolist())
    assert pulse(plucked(astray, [A], 8.0), RATE)[0] < clarity - 0.3
    assert pulse(torch.zeros(4 * RATE), RATE)[0] == 0


def test_a_loop_is_similar_to_itself_a_bar_ago_and_a_chromatic_run_is_not():
    loop = plucked([0.5 * i for i in range(20)], [A, C, E, C], 10.0)  # a bar of 2 s
    run = plucked([0.5 * i for i in range(20)], [A * 2 ** (7 * i % 12 / 12) for i in range(20)], 10.0)
    assert bar_similarity(loop, RATE) > 0.9
    assert bar_similarity(run, RATE) < 0.5
    assert bar_similarity(torch.zeros(6 * RATE), RATE) == 0


def test_octave_levels_are_decibels_of_full_scale():
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    levels = octave_levels(0.1 * torch.sin(2 * math.pi * 620 * time), RATE)[:, 5:-5]  # 440 to 880 Hz
    assert levels[3].median().item() == pytest.approx(-23.0, abs=0.1)
    assert levels[7].max().item() == -70


def test_level_spread_is_how_far_notes_fall():
    # On for three quarters of every second: the 10th percentile lies on the floor, the 50th at the tone.
    time = torch.arange(10 * RATE, dtype=torch.float64) / RATE
    tone = 0.1 * torch.sin(2 * math.pi * 620 * time)
    mostly_on = tone * ((time % 1.0) < 0.75)
    assert level_spread(tone, RATE)[3] == pytest.approx(0, abs=0.1)
    assert level_spread(mostly_on, RATE)[3] == pytest.approx(-23.0 + 70, abs=0.2)


def test_noise_clears_none_of_the_piano_bars_but_onsets_and_a_copy_clears_all():
    clip = plucked([0.4 * i for i in range(10)], [A, C, E, 2 * A], 4.0)
    real = medians([music_checks(clip, RATE)])
    noise = medians([music_checks(white(4.0), RATE)])
    assert all(bar.holds(real[bar.name], real[bar.name]) for bar in PIANO_BARS)
    held = {bar.name for bar in PIANO_BARS if bar.holds(real[bar.name], noise[bar.name])}
    assert held <= {"onset rate"}


def test_metrics_name_what_music_checks_names():
    clip = plucked([0.2 * i for i in range(20)], [A, C], 4.0)
    figures = {figure.name: figure for metric in CHECKS for figure in metric([clip], [clip], RATE)}
    checks = music_checks(clip, RATE)
    assert figures.keys() == checks.keys()
    for name, figure in figures.items():
        assert figure.value == pytest.approx(checks[name]) and figure.better == "nearer"
