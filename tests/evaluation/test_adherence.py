"""What was asked is heard again; another's prompt is not."""

import math

import numpy as np
import pytest
import torch

from orchestrion.evaluation.adherence import (
    adherence,
    asked_key,
    hear,
    heard_key,
    keys_agree,
    known_attributes,
    measure_adherence,
    ranks_agree,
    swapped,
    tempos_agree,
)

RATE = 22_050


def clip(density: float, pitch: float, loud: float, seed: int, seconds: float = 3.0) -> torch.Tensor:
    """Decaying tones, `density` a second, around a MIDI pitch."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros_like(time)
    for start in np.arange(0, seconds, 1 / density):
        hertz = 440 * 2 ** ((pitch + rng.integers(-3, 4) - 69) / 12)
        sound += np.where(time >= start, np.exp(-5 * (time - start)) * np.sin(2 * np.pi * hertz * (time - start)), 0)
    return torch.from_numpy(10 ** (loud / 20) * sound)[None]


@pytest.fixture(scope="module")
def music():
    rng = np.random.default_rng(0)
    asked = [{"density": rng.uniform(1.5, 8), "pitch": rng.uniform(45, 85), "level": rng.uniform(-40, -10),
              "program": 0.0} for _ in range(12)]
    heard = [hear(clip(a["density"], a["pitch"], a["level"], i), RATE, known_attributes(asked))
             for i, a in enumerate(asked)]
    return asked, heard


def test_clips_that_do_as_asked_agree_and_swapped_prompts_do_not(music):
    asked, heard = music
    met = adherence(asked, heard)
    assert met.keys() == {"density", "pitch", "level", "all"} and all(value > 0.8 for value in met.values())
    others = [asked[i] for i in swapped(len(asked))]
    assert adherence(others, heard)["all"] < 0.4
    figures = {figure.metric: figure for figure in measure_adherence(asked, heard)}
    wrong = {figure.metric: figure for figure in measure_adherence(others, heard)}
    assert figures["adherence"].low > wrong["adherence"].high


def test_only_what_differs_between_prompts_can_be_judged():
    asked = [{"program": 0.0, "density": 3.0, "tempo": 60.0 + i} for i in range(9)]
    assert known_attributes(asked) == ["tempo"] and known_attributes(asked[:5]) == []


def test_nobody_keeps_a_prompt_that_is_swapped():
    for count in (2, 7, 64):
        assert sorted(swapped(count)) == list(range(count)) and all(i != j for i, j in enumerate(swapped(count)))


def test_ranks_are_spearmans():
    from scipy.stats import spearmanr

    first, second = np.random.default_rng(0).integers(0, 6, (2, 30)).astype(float)
    assert ranks_agree(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert ranks_agree(first, np.ones(30)) == 0


def test_tempo_may_be_heard_at_its_double_and_chance_gives_zero():
    asked = np.array([60.0, 90, 120])
    assert tempos_agree(asked, np.array([120.0, 45, 121])) == 1
    rng = np.random.default_rng(0)
    assert tempos_agree(2 ** rng.uniform(5, 8, 20_000), 2 ** rng.uniform(5, 8, 20_000)) == pytest.approx(0, abs=0.01)
    assert tempos_agree(asked, np.full(3, np.inf)) < 0  # no pulse at all


@pytest.mark.parametrize(("tonic", "mode"), [(0, 1), (9, 0), (6, 1)])
def test_a_scale_is_heard_in_its_key(tonic, mode):
    time = torch.arange(RATE // 2, dtype=torch.float64) / RATE
    steps = (0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0) if mode else (0, 2, 3, 5, 7, 8, 10, 12, 7, 3, 0)
    tones = [torch.sin(2 * math.pi * 261.63 * 2 ** ((tonic + step) / 12) * time) for step in steps]
    asked = asked_key({"key": tonic, "mode": mode})
    assert heard_key(torch.cat(tones), RATE) == asked
    assert math.isnan(heard_key(torch.zeros(RATE), RATE))
    assert keys_agree(np.array([asked]), np.array([asked])) == 1 and math.isnan(asked_key({"tempo": 90.0}))
