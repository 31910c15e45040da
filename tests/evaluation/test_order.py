"""The scoreboard orders what must be ordered: real, codec, trained, and the floors; more noise, lower low-pass.

The contenders are made of seeded tunes, so that what is better is known without training anything: a codec
that loses the highest partials and adds hiss at -80 dBFS; a "trained" model that plays other notes of the same
kind with a wobbling pitch, few partials and hiss at -60 dBFS; an "untrained" one that gives coloured noise. (The
tunes are without any noise between notes, so that a model hissing at -40 dBFS is rightly farther from them by
log-mel statistics than coloured noise is.)
"""

import numpy as np
import pytest
import torch

from orchestrion.audio import Audio
from orchestrion.evaluation.embeddings import find_embedding
from orchestrion.evaluation.embeddings.embedding import embed
from orchestrion.evaluation.figures import Clips, Judge
from plucks import pluck_tune

RATE, SECONDS, COUNT = 22_050, 2.0, 16


def tune(seed: int) -> np.ndarray:
    rng = np.random.default_rng(5000 + seed)
    return rng.uniform(0.2, 0.9) * pluck_tune(SECONDS, RATE, seed, rng.uniform(2.5, 6)).mean(0)


def hiss(seed: int, level: float) -> np.ndarray:
    return level * np.random.default_rng(9000 + seed).standard_normal(round(SECONDS * RATE))


def low_pass(audio: np.ndarray, hertz: float) -> np.ndarray:
    """An eighth-order fall above `hertz`, no phase."""
    frequencies = np.fft.rfftfreq(len(audio), 1 / RATE)
    return np.fft.irfft(np.fft.rfft(audio) / (1 + (frequencies / hertz) ** 8), len(audio))


def wrong(seed: int) -> np.ndarray:
    """The notes of a tune by another instrument: bent by a slow vibrato, its spectrum tilted, hissing."""
    audio = tune(seed)
    time = np.arange(len(audio)) / RATE
    bent = np.interp(time + 0.002 * np.sin(2 * np.pi * 4 * time), time, audio)
    return low_pass(bent, 1500) + hiss(seed, 1e-3)


def red(seed: int) -> np.ndarray:
    return 5 * low_pass(hiss(seed, 0.1), 300)


def clips(make, start: int) -> Clips:
    audio = [Audio(torch.from_numpy(np.asarray(make(start + i), dtype=np.float32)), RATE) for i in range(COUNT)]
    return Clips(audio)


@pytest.fixture(scope="module", params=["log-mel", "notes"])
def judge(request):
    return Judge(clips(tune, 0), [find_embedding(request.param)])


def figures(judge: Judge, contender: Clips) -> dict[str, float]:
    embedding = judge.embeddings[0]
    name = f" {embedding.info.name}"
    return {figure.metric.removesuffix(name): figure.value for figure in judge.likeness(embedding, contender)}


DISTANCES = ("FAD", "FAD∞", "KAD")


@pytest.fixture(scope="module")
def board(judge):
    made = {"real": clips(tune, 100),
            "codec": clips(lambda seed: low_pass(tune(seed), 6000) + hiss(seed, 1e-4), 100),
            "trained": clips(wrong, 200), "untrained": clips(red, 300),
            "noise": clips(lambda seed: hiss(seed, 0.1), 400), "silence": clips(lambda seed: hiss(seed, 0), 500)}
    return {name: figures(judge, contender) for name, contender in made.items()}


def test_real_codec_trained_and_floors_come_in_order(board):
    for floor in ("untrained", "noise", "silence"):
        rises([board[name] for name in ("real", "codec", "trained", floor)])


def test_only_music_lies_among_music(board):
    for name in ("untrained", "noise", "silence"):
        assert board[name]["precision"] <= 0.1 and board[name]["coverage"] <= 0.1
    assert board["real"]["coverage"] > 0.7 and board["real"]["precision"] > 0.5
    assert board["silence"]["diversity"] == pytest.approx(0, abs=1e-6)


def test_more_noise_is_farther(judge):
    steps = [figures(judge, clips(lambda seed, level=level: tune(seed) + hiss(seed, level), 100))
             for level in (0.0, 3e-3, 3e-2, 0.3)]
    rises(steps)


def test_a_lower_low_pass_is_farther(judge):
    rises([figures(judge, clips(lambda seed, hertz=hertz: low_pass(tune(seed), hertz), 100))
           for hertz in (10_000, 1500, 500, 150)])


def rises(steps: list[dict[str, float]]) -> None:
    """By every distance each step is farther than the one before."""
    for metric in DISTANCES:
        line = [step[metric] for step in steps]
        assert line == sorted(line) and len(set(line)) == len(line), (metric, line)


def test_one_clip_over_and_over_is_caught_by_diversity_and_coverage(judge):
    same = clips(lambda seed: tune(100) + hiss(seed, 1e-5), 0)
    found = figures(judge, same)
    assert found["diversity"] < 0.1 and found["coverage"] < 0.5 and found["recall"] < 0.1


def test_the_kernel_distance_of_real_music_is_near_nothing_beside_the_way_to_the_floor(board):
    assert abs(board["real"]["KAD"]) < 0.15 * board["noise"]["KAD"]


def test_embedding_in_threads_changes_nothing():
    some = clips(tune, 0).audio[:6]
    embedding = find_embedding("log-mel")
    alone = [embed(embedding, [clip])[0] for clip in some]
    assert all(np.array_equal(a, b) for a, b in zip(alone, embed(embedding, some)))
