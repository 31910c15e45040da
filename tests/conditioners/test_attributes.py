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


def test_bad_numbers_and_lacking_attributes_are_refused():
    conditioner = AttributesConfig().build()
    with pytest.raises(UserError, match="no piece of the corpus has the attribute 'tempo'"):
        conditioner.fit([Prompt(attributes={"key": 3.0})])
    conditioner.fit(prompts(90.0, 110.0))
    with pytest.raises(UserError, match="finite"):
        conditioner(prompts(float("nan")))
