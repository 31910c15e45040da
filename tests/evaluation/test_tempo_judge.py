"""The judge of tempo, on rhythms of which the beat is known."""

import math

import numpy as np
import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.evaluation.onsets import FRAME_RATE
from orchestrion.evaluation.pulse import beat_of
from orchestrion.evaluation.tempo_judge import TempoJudge


def rhythm(bpm, seed, seconds=10.0, halves=0.8):
    """Onset strength `[n]`: bars of four beats, the first stronger, three halves in four struck nearly as strongly."""
    rng = np.random.default_rng(seed)
    strength = 0.01 * rng.random(round(seconds * FRAME_RATE))
    beat = 60 / bpm
    for half, time in enumerate(np.arange(0.2, seconds - 0.1, beat / 2)):
        gain = (1.6 if half % 8 == 0 else 1.0) if half % 2 == 0 else halves * (rng.random() < 0.75)
        place = round((time + 0.004 * rng.standard_normal()) * FRAME_RATE)
        strength[place : place + 2] += gain * (0.9 + 0.2 * rng.random())
    return torch.from_numpy(strength)


@pytest.fixture(scope="module")
def judge():
    judge = TempoJudge()
    tempos = [float(bpm) for bpm in np.geomspace(60, 170, 120)]
    return judge.learn([judge.repetitions(rhythm(bpm, seed)) for seed, bpm in enumerate(tempos)], tempos)


def test_it_learns_which_of_the_periods_is_the_beat(judge):
    """Where a fixed rule taps bars, halves or twos of some, and beats that it has not heard before."""
    tempos = np.geomspace(63, 165, 30)
    rhythms = [rhythm(bpm, 1_000 + seed) for seed, bpm in enumerate(tempos)]
    right = [abs(math.log2(judge.beat(judge.repetitions(each)) / bpm)) < 0.06 for each, bpm in zip(rhythms, tempos)]
    tapped = [abs(math.log2(60 / beat_of(each) / bpm)) < 0.06 for each, bpm in zip(rhythms, tempos)]
    assert sum(right) >= 27 > sum(tapped)


def test_of_two_tempos_the_faster_is_expected_to_be_faster(judge):
    tempos = np.geomspace(63, 165, 20)
    heard = [judge.tempo(judge.repetitions(rhythm(bpm, 2_000 + seed))) for seed, bpm in enumerate(tempos)]
    pairs = [(a, b) for i, a in enumerate(heard) for j, b in enumerate(heard) if tempos[i] > 1.25 * tempos[j]]
    assert np.mean([a > b for a, b in pairs]) > 0.95


def test_more_strokes_at_one_tempo_are_no_faster_beat(judge):
    few, many = (judge.tempo(judge.repetitions(rhythm(100.0, 7, halves=gain))) for gain in (0.5, 0.95))
    assert many == pytest.approx(few, rel=0.15)


def test_where_nothing_is_struck_there_is_no_tempo(judge):
    assert judge.features(torch.zeros(1, 22_050 * 4), 22_050) is None
    assert math.isnan(judge.tempo(None)) and math.isnan(judge.beat(None))
    assert not judge(torch.zeros(1, 22_050 * 4), 22_050) > 0  # so silence obeys no prompt
    with pytest.raises(UserError, match="fewer than two"):
        TempoJudge().learn([], [])
