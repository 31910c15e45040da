"""What training says of a crop: true of the crop, not of its piece alone, in ever other words."""

from dataclasses import replace

import pytest
from scores import midi

from orchestrion.corpus.captions import caption
from orchestrion.corpus.corpus import Piece
from orchestrion.corpus.datasets import prompts_of, worded
from orchestrion.corpus.music import Music, during

# twenty slow low soft notes, then eighty fast high loud ones: 10 s of each at 120 beats a minute
NOTES = [(i, 1, 40, 30) for i in range(20)] + [(20 + i / 4, 0.25, 90, 110) for i in range(80)]


def piece():
    music = Music.read(midi(NOTES, bpm=120))
    return Piece("a.flac", 20.0, "train", attributes=music.attributes() | {"program": 10.0}, source="test/1",
                 curves=music.curves())


def test_curves_tell_what_a_stretch_is_like():
    curves = piece().curves
    first, second, whole = (during(curves, start, seconds) for start, seconds in ((0, 10), (10, 10), (0, 20)))
    assert first == pytest.approx({"density": 2, "pitch": 40, "velocity": 30})
    assert second == pytest.approx({"density": 8, "pitch": 90, "velocity": 110})
    assert whole == pytest.approx({"density": 5, "pitch": 80, "velocity": 94})
    assert during(curves, 30, 10) == {"density": 0}
    assert during({}, 0, 10) == {}


def test_captions_are_true_of_the_stretch():
    def said(start):
        return " ".join(worded(piece(), str(i), start, 10.0).text.lower() for i in range(100))

    calm, wild = said(0.0), said(10.0)
    for phrase in ("very soft", "low register", "sparse", "music box"):
        assert phrase in calm
    for phrase in ("very loud", "high register", "busy", "music box"):
        assert phrase in wild
    assert "loud" not in calm and "high register" not in calm and "busy" not in calm
    assert "soft" not in wild and "low register" not in wild and "sparse" not in wild


def test_another_key_another_wording_and_the_same_key_the_same():
    assert worded(piece(), "a") == worded(piece(), "a")
    assert len({worded(piece(), str(i)).text for i in range(40)}) > 25


def test_every_word_that_training_says_is_learned_from_the_prompts():
    learned = " ".join(prompt.text.lower() for prompt in prompts_of([piece()], draws=200)).replace(",", " ")
    for word in ("music", "box", "bpm"):
        assert word in learned


def test_without_notes_the_piece_s_own_caption_stands():
    plain = Piece("a.flac", 3.0, "train", caption="rain on a roof", facts={"caption": "rain on a roof"})
    assert worded(plain, "x", 1.0, 2.0).text == "rain on a roof"
    assert worded(Piece("a.flac", 3.0, "train"), "x").text is None


def test_a_caption_written_into_the_manifest_stays():
    mine = replace(piece(), caption="my music box")
    assert {worded(mine, str(i)).text for i in range(5)} == {"my music box"}
    made = replace(piece(), caption=caption("test/1", piece().attributes, {}))
    assert len({worded(made, str(i)).text for i in range(5)}) > 1
