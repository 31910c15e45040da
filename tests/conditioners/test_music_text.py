import random
import statistics

import pytest
import torch

from orchestrion.conditioners.metronome import MetronomeConfig
from orchestrion.conditioners.music_text import MusicTextConfig
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.contracts import Continuous, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig
from orchestrion.tempo import tempo_of

RATE = 20.0
TEMPOS = {"slow": 60.0, "": 90.0, "fast": 135.0}
PITCHES = {"piano": 60.0, "harp": 65.0, "organ": 50.0}


@pytest.fixture(scope="module")
def teller():
    return learned()


def learned():
    """Taught by captions in which one word tells the tempo, one the pitch, and none the density."""
    draw = random.Random(0)
    torch.manual_seed(0)
    made = MusicTextConfig(text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64),
                           metronome=MetronomeConfig(rate=RATE)).build().eval()
    prompts = []
    for _ in range(1500):
        word = draw.choice(list(TEMPOS))
        gap = 60 / (TEMPOS[word] * draw.uniform(0.95, 1.05))
        player = draw.choice(list(PITCHES))
        text = " ".join(filter(None, (word, player, draw.choice(("loud", "soft")))))
        numbers = {"pitch": PITCHES[player] + draw.gauss(0, 4 if player == "piano" else 1), "density": draw.gauss(5, 1)}
        prompts.append(Prompt(text=text, beats=[gap * i for i in range(12)], attributes=numbers))
    made.fit(prompts)
    return made


def tempo(teller, seed: int = 0, **prompt) -> float:
    return tempo_of(teller.complete(Prompt(**prompt), 12.0, seed).beats)


@pytest.mark.parametrize("seed", range(5))
def test_words_tell_the_tempo(teller, seed):
    for word, told in TEMPOS.items():
        assert tempo(teller, seed, text=f"{word} harp, loud") == pytest.approx(told, rel=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_unwanted_words_say_the_opposite(teller, seed):
    usual = tempo(teller, seed, text="harp")
    assert tempo(teller, seed, text="harp", negative="fast") < 0.85 * usual
    assert tempo(teller, seed, text="harp", negative="slow") > 1.15 * usual
    assert tempo(teller, seed, text="fast harp", negative="zxqv") == tempo(teller, seed, text="fast harp")


def test_a_number_is_kept_to_and_one_asked_for_beside_it_wins(teller):
    assert tempo(teller, text="fast harp, 72 bpm") == pytest.approx(72)
    assert tempo(teller, text="fast harp, 72 bpm", attributes={"tempo": 100.0}) == pytest.approx(100)
    for none in ("9000 bpm", "1135 bpm", "3.135 bpm"):
        assert tempo(teller, text=f"harp, {none}") == pytest.approx(90, rel=0.2)


def test_a_number_that_no_music_has_is_refused(teller):
    teller.check(Prompt(text="harp", attributes={"pitch": 50.0, "density": 4.0}))
    with pytest.raises(UserError, match="a pitch of 1000 is far"):
        teller.check(Prompt(attributes={"pitch": 1000.0}))


def test_an_empty_prompt_and_unknown_words_have_a_usual_tempo(teller):
    assert tempo(teller) == tempo(teller, text="xylograph") == pytest.approx(90, rel=0.2)


def drawn(teller, text: str, name: str) -> tuple[float, float]:
    """Mean and deviation of what 200 seeds make of the words."""
    numbers = [teller.complete(Prompt(text=text), 3.0, seed).attributes[name] for seed in range(200)]
    return statistics.fmean(numbers), statistics.pstdev(numbers)


def test_words_tell_a_number_as_surely_as_the_corpus_has_it(teller):
    """The piano's pitches were four times as far apart as the harp's."""
    harp, piano, density = (drawn(teller, *asked) for asked in
                            (("slow harp", "pitch"), ("piano", "pitch"), ("soft organ", "density")))
    assert harp == (pytest.approx(65, abs=0.6), pytest.approx(1, rel=0.6))
    assert piano == (pytest.approx(60, abs=1), pytest.approx(4, rel=0.2))
    assert density == (pytest.approx(5, abs=0.3), pytest.approx(1, rel=0.2))


def test_numbers_that_go_together_are_drawn_together():
    """Music whose density follows its tempo, 2 notes a beat, under captions that tell neither."""
    draw = random.Random(0)
    made = MusicTextConfig(text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64)).build().eval()
    tempos = [draw.uniform(60, 180) for _ in range(1500)]
    made.fit([Prompt(text="harp", beats=[60 / tempo * i for i in range(9)], attributes={"density": tempo / 30})
              for tempo in tempos])
    for tempo in (80.0, 120.0, 150.0):
        asked = Prompt(text="harp", attributes={"tempo": tempo})
        told = [made.complete(asked, 5.0, seed).attributes["density"] for seed in range(50)]
        assert statistics.fmean(told) == pytest.approx(tempo / 30, rel=0.1) and statistics.pstdev(told) < 0.4
    drawn = [made.complete(Prompt(text="harp"), 5.0, seed) for seed in range(300)]
    assert all(prompt.attributes["density"] == pytest.approx(tempo_of(prompt.beats) / 30, rel=0.3) for prompt in drawn)
    lowest, *_, highest = sorted(prompt.attributes["density"] for prompt in drawn)
    assert lowest == pytest.approx(66 / 30, abs=0.15) and highest == pytest.approx(174 / 30, abs=0.15), "none beyond"


def test_very_means_more_of_what_follows_it():
    draw = random.Random(0)
    made = MusicTextConfig(text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64)).build().eval()
    tempos = {"very slow": 50.0, "slow": 75.0, "fast": 115.0, "very fast": 150.0}
    made.fit([Prompt(text=f"{words} {draw.choice(('harp', 'organ'))}", beats=[60 / tempos[words] * i for i in range(9)])
              for words in draw.choices(list(tempos), k=1500)])
    for words, told in tempos.items():
        assert tempo(made, text=f"{words} harp") == pytest.approx(told, rel=0.1)


def test_a_number_that_is_given_stays(teller):
    assert teller.complete(Prompt(text="harp", attributes={"pitch": 40.0}), 3.0, 0).attributes["pitch"] == 40.0


def test_it_fills_what_its_parts_fill(teller):
    prompts = [teller.complete(Prompt(text="slow harp", negative="loud"), 3.0, 0), Prompt(text="fast loud organ")]
    said = teller.guided(prompts)
    alone = teller.text.guided(prompts)
    assert torch.equal(said.sequence, alone.sequence) and torch.equal(said.vector[:, :32], alone.vector)
    assert said.vector.shape[1] == teller.width_of("vector") == 32 + 6
    pitch = teller.complete(prompts[0], 3.0, 0).attributes["pitch"]
    told = (pitch - teller.numbers.mean[1]) / teller.numbers.deviation[1]
    assert said.vector[0, 33].item() == pytest.approx(told.item(), abs=1e-4)
    assert said.vector[:, 35:37].tolist() == [[1, 1], [0, 0]]  # given, and not
    assert said.frames[0].abs().sum() > 0 and said.frames[1].abs().sum() == 0
    assert said.against.frames.shape == said.frames.shape and said.against.frames.abs().sum() == 0
    assert said.negated == (True, False)


def test_it_is_saved_whole_and_steers_a_flow(teller):
    other = MusicTextConfig(text=teller.text.config, metronome=MetronomeConfig(rate=RATE)).build().eval()
    other.load_state_dict(teller.state_dict())
    assert tempo(other, 3, text="slow organ") == tempo(teller, 3, text="slow organ")
    torch.manual_seed(0)
    config = FlowConfig(net=DiTConfig(width=32, depth=1, heads=2), context=32, overlap=8)
    flow = config.build(Continuous(4, RATE), other)
    assert flow.net.frames.in_features == 7 and flow.net.words.in_features == 32
    assert flow.net.vector.in_features == 38
    torch.nn.init.normal_(flow.net.leave.weight)
    torch.nn.init.normal_(flow.net.frames.weight)
    slow, fast = (flow.sample(60, other.guided([other.complete(Prompt(attributes={"tempo": bpm}), 3.0, 0)]), [0])
                  for bpm in (60.0, 120.0))
    assert not torch.allclose(slow, fast, atol=1e-2)


def test_training_leaves_a_tenth_of_the_numbers_out(teller):
    prompts = [Prompt(text="harp", attributes={"density": 4.0, "pitch": 60.0})] * 2000
    torch.manual_seed(0)
    given = teller.train()(prompts).vector[:, 35:]
    teller.eval()
    assert given[:, :2].mean().item() == pytest.approx(0.9, abs=0.02)
    assert not torch.equal(given[:, 0], given[:, 1]) and not given[:, 2].any()


def test_further_training_keeps_the_ranges_and_learns_what_words_mean_now():
    made = learned()
    before = made.numbers.mean.clone()
    made.fit_further([Prompt(text="harp", attributes={"pitch": 80.0 + i % 2, "velocity": 70.0 + i})
                      for i in range(300)])
    assert torch.equal(made.numbers.mean[:2], before[:2]) and before[2].isnan()
    assert made.numbers.mean[2].item() == pytest.approx(70 + 149.5)
    assert drawn(made, "harp", "pitch")[0] == pytest.approx(80.5, abs=0.3)


def test_sounds_without_numbers_leave_what_words_mean():
    made = learned()
    before = [tempo(made, text="fast harp"), drawn(made, "slow harp", "pitch")]
    made.fit_further([Prompt(text="rain on a roof"), Prompt(text="slow wind in the harp")])
    assert [tempo(made, text="fast harp"), drawn(made, "slow harp", "pitch")] == before


def test_a_corpus_without_numbers_teaches_words_alone():
    made = MusicTextConfig(text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64)).build()
    made.fit([Prompt(text="rain on a roof"), Prompt(text="wind")])
    assert made.complete(Prompt(text="rain"), 5.0, 0) == Prompt(text="rain")
    with pytest.raises(UserError, match="keeps to no tempo"):
        made.complete(Prompt(text="rain", attributes={"tempo": 90.0}), 5.0, 0)
    with pytest.raises(UserError, match="no music whose density"):
        made([Prompt(text="rain", attributes={"density": 3.0})])
