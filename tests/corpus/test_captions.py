import re

import pytest
from scores import midi, scale

from orchestrion.corpus.captions import WORDS, caption, instrument, traits, wordings_of
from orchestrion.corpus.music import Music


def words(data, **facts):
    """Everything that the captions of many pieces with these notes say."""
    found = Music.read(data).attributes() | {"program": 0.0}
    return {caption(f"test/{i}", found, facts) for i in range(200)}


def said(captions, phrase):
    return any(phrase in line.lower() for line in captions)


def test_a_caption_is_a_function_of_the_key():
    found = Music.read(scale()).attributes()
    assert caption("a/1", found, {}) == caption("a/1", found, {})
    assert len({caption(f"a/{i}", found, {}) for i in range(50)}) > 25


def test_slow_low_and_soft_is_said_and_its_opposites_are_not():
    grave = words(midi([(i, 1, (36, 40, 43)[i % 3], 30) for i in range(24)], bpm=50))
    for phrase in ("very slow", "sparse", "low register", "very soft", "in c major", "piano"):
        assert said(grave, phrase), phrase
    for phrase in ("fast", "busy", "high", "loud", "minor"):
        assert not said(grave, phrase), phrase


def test_fast_high_and_loud_is_said():
    vivace = words(scale(bpm=160, step=0.25, root=12, velocity=110))
    for phrase in ("very fast", "busy", "high register", "very loud", "160 bpm"):
        assert said(vivace, phrase), phrase
    assert not said(vivace, "slow")


def test_the_pedal_is_said():
    assert said(words(scale(pedal=[(0, 15)])), "much pedal")
    assert not said(words(scale()), "pedal")


def test_metadata_is_said():
    lines = words(scale(), genre="Jazz", composer="Franz Schubert")
    named = [line for line in lines if "jazz" in line.lower()]
    assert all("piano" in line.lower() for line in named) and 0.3 * len(lines) < len(named) < 0.7 * len(lines)
    assert said(lines, "by franz schubert")


def test_ones_own_caption_is_kept():
    assert caption("a/1", {"tempo": 50.0}, {"caption": "my dog"}) == "my dog"


def test_of_several_captions_each_has_its_turn():
    lines = {caption(f"a/{i}", {}, {"caption": "a dog\n\n a dog barks "}) for i in range(20)}
    assert lines == {"a dog", "a dog barks"}


def test_wordings_of_neighbouring_bins_never_say_the_same():
    for name, (edges, bins) in WORDS.items():
        assert len(bins) == len(edges) + 1, name
        said = [wording for value in (*(edge - 1e-6 for edge in edges), edges[-1] + 1)
                for wording in wordings_of(name, value)]
        assert len(said) == len(set(said)), name


def test_an_instrument_has_the_names_that_people_use():
    lines = " ".join(caption(f"test/{i}", {"program": 10.0}, {}) for i in range(20))
    assert set(lines.split()) == {"music", "box"}
    assert {"guitar", "nylon guitar"} <= {caption(f"test/{i}", {"program": 24.0}, {}) for i in range(50)}


def test_no_knowledge_no_caption():
    assert caption("a/1", {}, {}) == ""


def test_an_unclear_key_is_not_named():
    import random

    unclear = {"key": 0.0, "mode": 1.0, "key_clarity": 0.01}
    assert traits(unclear, random.Random(0)) == []


@pytest.mark.parametrize("program", range(128))
def test_every_program_has_a_name(program):
    assert re.fullmatch(r"[a-z0-9 +&/-]+", instrument(program))
