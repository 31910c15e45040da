"""Held-out clips: always the same ones, one a piece, none that was trained on."""

import dataclasses

import numpy as np
import pytest
import soundfile

from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.errors import UserError
from orchestrion.evaluation.clips import held_out

RATE = 8000


@pytest.fixture
def corpus(tmp_path):
    pieces = []
    for i in range(12):
        split = ("train", "validation", "test")[i % 3]
        soundfile.write(tmp_path / f"{i}.flac", np.arange(4 * RATE) / (8 * RATE), RATE)
        pieces.append(Piece(f"{i}.flac", 4.0 if i != 11 else 1.0, split, source=f"song/{i}",
                            attributes={"program": i % 2}))
    return Corpus(tmp_path, "test", RATE, 1, "MIT", tuple(pieces))


def test_no_clip_comes_from_training_and_test_comes_first(corpus):
    clips = held_out(corpus, 7, 2.0)
    split = {piece.source: piece.split for piece in corpus.pieces}
    found = [split[clip.source] for clip in clips]
    assert found == ["test"] * 3 + ["validation"] * 4  # one of four test pieces is too short
    assert len({clip.source for clip in clips}) == 7


def test_the_rule_does_not_depend_on_the_manifests_order(corpus):
    turned = dataclasses.replace(corpus, pieces=corpus.pieces[::-1])
    assert [c.source for c in held_out(corpus, 5, 2.0)] == [c.source for c in held_out(turned, 5, 2.0)]


def test_a_clip_is_the_middle_of_its_piece(corpus):
    clip = held_out(corpus, 1, 2.0)[0]
    assert clip.audio.shape == (1, 2 * RATE) and clip.start == 1.0
    assert clip.audio[0, 0].item() == pytest.approx(1 / 8, abs=1e-4)  # a ramp of 1/8 a second


def test_pieces_may_be_refused_and_too_few_are_an_error(corpus):
    clips = held_out(corpus, 3, 2.0, lambda piece: piece.attributes["program"] == 0)
    assert all(int(clip.source.removeprefix("song/")) % 2 == 0 for clip in clips)
    with pytest.raises(UserError, match="7 held-out pieces"):
        held_out(corpus, 8, 2.0)
