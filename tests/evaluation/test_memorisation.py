"""Copies are found at any offset, and new music is not."""

import numpy as np
import pytest
import torch

from orchestrion.corpus.corpus import Corpus
from orchestrion.evaluation.memorisation import TrainingMusic, fingerprint, measure_memorisation, training_music
from plucks import pluck_corpus, pluck_tune

RATE = 22_050


def tune(seed, seconds=20.0):
    """Of uneven rhythm, so that no two bars are alike."""
    rng = np.random.default_rng(1000 + seed)
    parts = [pluck_tune(seconds / 8, RATE, 100 * seed + i, rng.uniform(2, 7)).mean(0) for i in range(8)]
    return torch.from_numpy(np.concatenate(parts))


@pytest.fixture(scope="module")
def training():
    return TrainingMusic([fingerprint(tune(seed), RATE).half() for seed in range(4)], 80 / 3600)


def test_a_copied_passage_is_found_whatever_its_offset_level_and_a_little_noise(training):
    source = tune(2)
    noise = 0.003 * torch.randn(4 * RATE, generator=torch.Generator().manual_seed(0))
    for start in (0.0, 3.337, 9.11):
        first = round(start * RATE)
        copy = 0.5 * source[first : first + 4 * RATE] + noise
        assert training.distances([copy], RATE)[0] < 0.15


def test_new_music_is_far_and_the_share_of_copies_is_counted(training):
    new = [tune(seed, 4.0) for seed in range(10, 18)]
    made = [*(tune(seed, 4.0) for seed in range(20, 26)), tune(0)[: 4 * RATE], tune(3)[5 * RATE : 9 * RATE]]
    of_real, of_made = (training.distances(clips, RATE) for clips in (new, made))
    assert of_real.min() > 0.25
    assert (of_made[-2:] < 0.1).all() and (of_made[:-2] > 0.25).all()
    nearest, copied = measure_memorisation(of_made, of_real)
    assert copied.value >= 2 / 8 and nearest.value == pytest.approx(np.median(of_made))
    assert measure_memorisation(of_real, of_real)[1].value == 0


def test_silence_and_a_steady_tone_copy_nothing(training):
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(4 * RATE) / RATE)
    assert training.distances([torch.zeros(4 * RATE), tone], RATE).tolist() == [1, 1]
    silent = TrainingMusic([torch.full((32, 100), -6.9)], 0.0)
    assert silent.distances([tune(0)[: 4 * RATE]], RATE)[0] == 1


@pytest.mark.parametrize("samples", [0, 1, 100, 2000])
def test_a_piece_too_short_for_a_frame_has_none_and_harms_nothing(training, samples):
    scrap = fingerprint(torch.ones(samples), RATE, phase=0.75)
    assert scrap.shape == (32, 0)
    clips = [tune(9, 4.0)]
    with_scrap = TrainingMusic([*training.pieces, scrap.half()], training.hours)
    assert with_scrap.distances(clips, RATE) == training.distances(clips, RATE)


def test_correlation_is_the_plain_one():
    piece, query = torch.randn(32, 60, dtype=torch.float64), torch.randn(32, 20, dtype=torch.float64)
    from orchestrion.evaluation.memorisation import _correlations

    centred = query - query.mean(1, keepdim=True)
    found = _correlations((centred / centred.norm()).float()[None], piece.float())[0]
    for offset in (0, 17, 40):
        part = piece[:, offset : offset + 20]
        part = part - part.mean(1, keepdim=True)
        expected = (part * centred).sum() / part.norm() / centred.norm()
        assert found[offset].item() == pytest.approx(expected.item(), abs=1e-4)


def test_fingerprints_are_kept_beside_the_corpus(tmp_path):
    corpus = Corpus.open(pluck_corpus(tmp_path / "c", 3, 4.0, RATE))
    first = training_music(corpus, 1.0)
    kept = list((tmp_path / "c" / "evaluation").iterdir())
    assert len(kept) == 1 and len(first.pieces) == 2 and first.hours == pytest.approx(8 / 3600)
    (tmp_path / "c" / "audio" / "0.flac").unlink()  # no longer needed
    again = training_music(corpus, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(first.pieces, again.pieces))
