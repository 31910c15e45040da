import pytest
import torch

from orchestrion.conditioners.attributes import AttributesConfig
from orchestrion.contracts import Prompt
from orchestrion.errors import UserError


def prompts(*tempos):
    return [Prompt(attributes={"tempo": t}) for t in tempos]


def test_numbers_are_standardised_and_a_missing_one_is_null():
    conditioner = AttributesConfig(names=("tempo", "density")).build()
    conditioner.fit([Prompt(attributes={"tempo": t, "density": 2.0}) for t in (80.0, 100.0, 120.0)] + [Prompt()])
    vector = conditioner([*prompts(100.0, 120.0), Prompt()]).vector
    assert torch.allclose(vector[:, 0], torch.tensor([0.0, (3 / 2) ** 0.5, 0.0]), atol=1e-5)
    assert vector[:, 1:].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert conditioner.width == vector.shape[1]


def test_an_unmeasured_one_takes_only_null_prompts():
    conditioner = AttributesConfig().build()
    assert conditioner([Prompt()]).vector.tolist() == [[0.0, 0.0]]
    with pytest.raises(UserError, match="has met no music whose tempo was known"):
        conditioner(prompts(100.0))


def test_what_no_music_of_the_corpus_was_like_is_refused():
    conditioner = AttributesConfig(names=("pitch", "density", "valence", "tempo")).build()
    conditioner.check(Prompt(attributes={"pitch": 1e9}))  # nothing measured yet: forward refuses
    conditioner.fit([Prompt(attributes={"pitch": 60.0 + way, "density": 3.0 + 2 * way, "valence": way, "tempo": 125.0})
                     for way in (-1.0, 1.0)])
    conditioner.check(Prompt(attributes={"tempo": 125.0}))  # which all music there had
    for name, low, high in (("pitch", 56, 64), ("density", 0, 11), ("valence", -4, 4), ("tempo", 124.9, 125.1)):
        for number in (low, high):
            conditioner.check(Prompt(attributes={name: number}))
        for number in (low - 0.5, high + 0.5, float("nan"), 1e9):
            with pytest.raises(UserError, match=rf"a {name} of .* is far .* from {low:g} to {high:g}"):
                conditioner.check(Prompt(attributes={name: number}))


def test_bad_numbers_and_lacking_attributes_are_refused():
    conditioner = AttributesConfig().build()
    with pytest.raises(UserError, match="no piece of the corpus has the attribute 'tempo'"):
        conditioner.fit([Prompt(attributes={"key": 3.0})])
    conditioner.fit(prompts(90.0, 110.0))
    with pytest.raises(UserError, match="finite"):
        conditioner(prompts(float("nan")))
