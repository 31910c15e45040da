import random

import pytest
import torch

from orchestrion.conditioners.metronome import MetronomeConfig, tempo_of
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.conditioners.timed_text import TimedTextConfig
from orchestrion.contracts import Continuous, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig

RATE = 20.0
TEMPOS = {"slow": 60.0, "": 90.0, "fast": 135.0}


@pytest.fixture(scope="module")
def teller():
    """Taught by captions in which one word tells the tempo and the others nothing."""
    draw = random.Random(0)
    torch.manual_seed(0)
    made = TimedTextConfig(text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64),
                           metronome=MetronomeConfig(rate=RATE)).build().eval()
    prompts = []
    for _ in range(1500):
        word = draw.choice(list(TEMPOS))
        gap = 60 / (TEMPOS[word] * draw.uniform(0.95, 1.05))
        text = " ".join(filter(None, (word, draw.choice(("piano", "harp", "organ")), draw.choice(("loud", "soft")))))
        prompts.append(Prompt(text=text, beats=[gap * i for i in range(12)]))
    made.fit(prompts)
    return made


def tempo(teller, seed: int = 0, **prompt) -> float:
    return tempo_of(teller.complete(Prompt(**prompt), 12.0, seed).beats)


@pytest.mark.parametrize("seed", range(5))
def test_words_tell_the_tempo(teller, seed):
    for word, told in TEMPOS.items():
        assert tempo(teller, seed, text=f"{word} harp, loud") == pytest.approx(told, rel=0.2)


def test_a_number_is_kept_to_and_one_asked_for_beside_it_wins(teller):
    assert tempo(teller, text="fast harp, 72 bpm") == pytest.approx(72)
    assert tempo(teller, text="fast harp, 72 bpm", attributes={"tempo": 100.0}) == pytest.approx(100)
    assert tempo(teller, text="harp, 9000 bpm") == pytest.approx(90, rel=0.2)


def test_an_empty_prompt_and_unknown_words_have_a_usual_tempo(teller):
    assert tempo(teller) == tempo(teller, text="xylograph") == pytest.approx(90, rel=0.2)


def test_it_fills_what_both_of_its_parts_fill(teller):
    prompts = [teller.complete(Prompt(text="slow harp", negative="loud"), 3.0, 0), Prompt(text="fast loud organ")]
    said = teller.guided(prompts)
    alone = teller.text.guided(prompts)
    assert torch.equal(said.sequence, alone.sequence) and torch.equal(said.vector, alone.vector)
    assert said.frames[0].abs().sum() > 0 and said.frames[1].abs().sum() == 0
    assert said.against.frames.shape == said.frames.shape and said.against.frames.abs().sum() == 0
    assert said.negated == (True, False)


def test_it_is_saved_whole_and_steers_a_flow(teller):
    other = TimedTextConfig(text=teller.text.config, metronome=MetronomeConfig(rate=RATE)).build().eval()
    other.load_state_dict(teller.state_dict())
    assert tempo(other, 3, text="slow organ") == tempo(teller, 3, text="slow organ")
    torch.manual_seed(0)
    config = FlowConfig(net=DiTConfig(width=32, depth=1, heads=2), context=32, overlap=8)
    flow = config.build(Continuous(4, RATE), other)
    assert flow.net.frames.in_features == 7 and flow.net.words.in_features == 32
    torch.nn.init.normal_(flow.net.leave.weight)
    torch.nn.init.normal_(flow.net.frames.weight)
    slow, fast = (flow.sample(60, other.guided([other.complete(Prompt(attributes={"tempo": bpm}), 3.0, 0)]), [0])
                  for bpm in (60.0, 120.0))
    assert not torch.allclose(slow, fast, atol=1e-2)


def test_a_corpus_without_beats_teaches_words_alone():
    made = TimedTextConfig(text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64)).build()
    made.fit([Prompt(text="rain on a roof"), Prompt(text="wind")])
    assert made.complete(Prompt(text="rain"), 5.0, 0) == Prompt(text="rain")
    with pytest.raises(UserError, match="keeps to no tempo"):
        made.complete(Prompt(text="rain", attributes={"tempo": 90.0}), 5.0, 0)
