import pytest
import torch

from orchestrion.conditioners.text import BEGIN, UNKNOWN, TextEncoderConfig
from orchestrion.contracts import Prompt
from orchestrion.errors import UserError

CAPTIONS = ["slow soft piano, in C sharp minor", "fast, loud Music Box. 128 bpm", "a piece of pop strings", "Café harp"]
SMALL = TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64, length=12)


def prompts(*texts):
    return [Prompt(text=text) for text in texts]


def encoder(config=SMALL):
    torch.manual_seed(0)
    made = config.build().eval()
    made.fit(prompts(*CAPTIONS))
    return made


def test_the_same_captions_give_the_same_words_every_time():
    states = [encoder().get_extra_state() for _ in range(3)]
    assert torch.equal(states[0], states[1]) and torch.equal(states[1], states[2])


def test_spelling_that_changes_no_sense_changes_nothing():
    made = encoder()
    plain = made.read("slow soft piano")
    for other in ("Slow, SOFT piano!", "slowly: softer pianos", "  slow\nsoft  piano  "):
        assert made.read(other) == plain, other
    assert made.read("cafe") == made.read("café") and made.read("c#") == made.read("C sharp")
    assert made.read("128bpm") == made.read("128 bpm") and len(made.read("128")) == 4  # a word a digit
    assert made.read("slow piano") != made.read("fast piano")


def test_unknown_words_are_one_unknown():
    made = encoder()
    assert made.read("zyx 音楽 quux") == [BEGIN, UNKNOWN]
    assert made.read("zyx quux piano zyx") == [BEGIN, UNKNOWN, made.read("piano")[1], UNKNOWN]
    assert len(made.read("piano " * 100)) == SMALL.length


def test_a_further_corpus_adds_its_words_and_moves_none():
    made, before = encoder(), encoder()
    made.fit_further(prompts("a dog barks", "slow rain, dog"))
    known = [*CAPTIONS, "128 bpm", "slowly"]
    assert all(made.read(text) == before.read(text) for text in known)
    assert before.read("dog") == [BEGIN, UNKNOWN] and UNKNOWN not in made.read("a dog barks in slow rain")
    assert made.read("dog") != made.read("rain") and made.read("zyx") == [BEGIN, UNKNOWN]
    assert max(made.read("dog barks rain")) < SMALL.vocabulary
    full = encoder(TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=len(before.tokeniser.get_vocab()) - 9))
    full.fit_further(prompts("dog dog rain"))  # ten endings are no words: room for one more
    assert full.read("dog") != [BEGIN, UNKNOWN] and full.read("rain") == [BEGIN, UNKNOWN]


def test_no_prompt_an_empty_one_and_blanks_are_alike():
    made = encoder()
    found = made([Prompt(), *prompts("", "  \n")])
    assert found.sequence.shape == (3, 1, 32)
    assert torch.equal(found.vector[0], found.vector[1]) and torch.equal(found.vector[0], found.vector[2])


def test_a_prompt_is_read_the_same_alone_and_in_a_batch():
    made = encoder()
    alone, batch = made(prompts("slow harp")), made(prompts("slow harp", "a piece of pop strings in c minor"))
    assert batch.mask.sum(1).tolist() == [3, 9]
    assert torch.allclose(batch.sequence[0, :3], alone.sequence[0], atol=1e-5)
    assert torch.allclose(batch.vector[0], alone.vector[0], atol=1e-5)
    assert not torch.allclose(batch.vector[0], batch.vector[1])


def test_a_negative_prompt_is_what_guidance_leads_away_from():
    made = encoder()
    found = made.guided([Prompt("slow harp", negative="fast piano"), Prompt("piano")])
    negative = made(prompts("fast piano", None))
    assert torch.allclose(found.against.vector, negative.vector, atol=1e-5)
    assert torch.allclose(found.vector, made(prompts("slow harp", "piano")).vector, atol=1e-5)
    assert found.both().sequence.shape[0] == 4 and torch.equal(found.both().vector[2:], found.against.vector)


def test_words_are_hidden_only_while_training():
    made = encoder(TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64, hidden=1.0))
    told = made(prompts("slow harp", "zyx"))
    made.train()
    hidden = made(prompts("slow harp", "zyx"))
    assert torch.allclose(hidden.sequence[1], told.sequence[1], atol=1e-5)  # what is unknown stays so
    assert not torch.allclose(hidden.sequence[0], told.sequence[0], atol=1e-3)


def test_the_tokeniser_travels_with_the_weights():
    made, other = encoder(), SMALL.build().eval()
    with pytest.raises(UserError, match="has read no captions"):
        other(prompts("slow"))
    other([Prompt()])  # an empty prompt needs no words
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(prompts("slow piano")).vector, made(prompts("slow piano")).vector)


def test_a_corpus_without_captions_is_refused():
    with pytest.raises(UserError, match="no piece of the corpus has a caption"):
        SMALL.build().fit([Prompt(), Prompt(genre="jazz")])


def test_gradients_reach_the_words():
    made = encoder()
    vector = made(prompts("slow harp")).vector
    (vector * torch.linspace(-1, 1, vector.shape[-1])).sum().backward()  # of a norm's outputs the plain sum is constant
    harp = made.read("harp")[1]
    assert made.words.weight.grad[harp].abs().sum() > 1e-3
