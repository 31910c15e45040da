"""The judges of obedience, on sounds of which the truth is known."""

import numpy as np
import pytest
import torch

from orchestrion.corpus.captions import WORDS
from orchestrion.errors import UserError
from orchestrion.evaluation.adherence import heard_tempo
from orchestrion.evaluation.obedience import CONTRASTS, TimbreJudge, interval, obeyed, pairs, told_apart

RATE = 22_050


def tones(seconds=4.0, every=0.5, hertz=440.0, gain=0.3, partials=4, seed=0):
    """Struck tones, one every `every` seconds."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    made = 1e-4 * rng.standard_normal(len(time))
    for start in np.arange(0.1, seconds - 0.1, every):
        after = np.maximum(time - start, 0)
        strike = (time >= start) * np.exp(-6 * after)
        made += gain * strike * sum(np.sin(2 * np.pi * k * hertz * after) / k for k in range(1, partials + 1))
    return torch.from_numpy(made.astype(np.float32))[None]


@pytest.mark.parametrize("name, more, less", [
    ("density", {"every": 0.15}, {"every": 0.8}),
    ("tempo", {"every": 0.3}, {"every": 0.7}),
    ("register", {"hertz": 880.0}, {"hertz": 220.0}),
    ("loudness", {"gain": 0.4}, {"gain": 0.1}),
])
def test_each_contrast_hears_what_it_is_named_after(name, more, less):
    contrast = next(each for each in CONTRASTS if each.name == name)
    assert obeyed(contrast, tones(**more), tones(**less), RATE)
    assert not obeyed(contrast, tones(**less), tones(**more), RATE)
    assert not obeyed(contrast, tones(), tones(), RATE)  # the same clip twice is no obedience


def test_silence_obeys_nothing():
    silence = torch.zeros(1, 4 * RATE)
    assert not any(obeyed(contrast, silence, tones(), RATE) for contrast in CONTRASTS)


def test_pairs_differ_in_the_contrast_alone_and_use_every_instrument():
    made = pairs(CONTRASTS[0], ["piano", "harp"], 150)
    assert len({(pair.more, pair.seed) for pair in made}) == 150 and made == pairs(CONTRASTS[0], ["piano", "harp"], 150)
    for pair in made:
        more, less = pair.more, pair.less
        for contrast_word in CONTRASTS[0].more:
            more = more.replace(contrast_word + " ", "", 1) if more.startswith(contrast_word + " ") else more
        for contrast_word in CONTRASTS[0].less:
            less = less.replace(contrast_word + " ", "", 1) if less.startswith(contrast_word + " ") else less
        assert more == less and ("piano" in more) != ("harp" in more)
    with pytest.raises(UserError, match="at least one instrument"):
        pairs(CONTRASTS[0], [], 3)


def test_the_sides_are_those_of_the_captions():
    """An attribute's value is on a side where a caption of it uses one of the contrast's words."""
    for contrast in CONTRASTS:
        edges, bins = WORDS[contrast.attribute]
        assert contrast.side({contrast.attribute: edges[-1] + 1}) == 1, contrast.name
        assert contrast.side({contrast.attribute: edges[0] - 1}) == -1, contrast.name
        assert contrast.side({contrast.attribute: (edges[1] + edges[2]) / 2}) == 0 and contrast.side({}) == 0
        every = {wording for words in bins for wording in words.split(" / ")}
        assert {*contrast.more, *contrast.less} <= every, contrast.name  # no word that no caption has


def test_real_clips_are_compared_within_an_instrument():
    clips = [("harp", 1, 5.0), ("harp", -1, 2.0), ("harp", -1, 6.0), ("organ", 1, 1.0), ("organ", 0, 9.0)]
    assert told_apart(clips) == (1, 2) and told_apart([]) == (0, 0)


def test_the_beat_is_tapped_and_not_its_half_or_double():
    """Eighths under louder quarters: what repeats best is either, or two quarters."""
    def struck(beats, gains, beat):
        made = torch.zeros(1, 8 * RATE)
        for place, gain in zip(beats, gains):
            start = round((0.1 + place * beat) * RATE)
            note = tones(1.6, every=9.0, gain=gain)[:, round(0.1 * RATE):]
            room = min(note.shape[1], made.shape[1] - start)
            if room > 0:
                made[:, start : start + room] += note[:, :room]
        return made

    for bpm in (70.0, 100.0, 130.0):
        beat = 60 / bpm
        count = int(7.5 / beat)
        eighths = struck(np.arange(0, count, 0.5), [0.4, 0.2] * count, beat)
        assert heard_tempo(eighths, RATE) == pytest.approx(bpm, rel=0.03)


def test_wilson_s_interval():
    low, high = interval(120, 150)
    assert low == pytest.approx(0.729, abs=2e-3) and high == pytest.approx(0.856, abs=2e-3)
    assert interval(0, 10)[0] == pytest.approx(0, abs=1e-9) and interval(10, 10)[1] == pytest.approx(1, abs=1e-9)
    assert interval(0, 0) == (0.0, 1.0)


def test_the_timbre_judge_names_unheard_clips_whatever_their_level_and_pitch():
    judge = TimbreJudge()

    def clips(seeds):
        for seed in seeds:
            for name, partials in (("flute", 1), ("organ", 12)):
                clip = tones(2.0, hertz=200 + 60 * (seed % 5), gain=0.05 + 0.1 * (seed % 3), partials=partials,
                             seed=seed)
                yield judge.features(clip, RATE), name

    features, names = zip(*clips(range(6)))
    judge.learn(features, names)
    assert all(judge.name(heard) == name for heard, name in clips(range(20, 24)))
    with pytest.raises(UserError, match="two instruments"):
        judge.learn(features[:1], names[:1])
