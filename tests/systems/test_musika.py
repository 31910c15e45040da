import pytest

from orchestrion.conditioners.attributes import AttributesConfig
from orchestrion.systems.musika import musika
from orchestrion.systems.system import Recipe


@pytest.mark.parametrize("size", ["nano", "tiny", "small", "paper"])
def test_every_size_builds_and_is_plain_data(size):
    recipe = musika(size)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    if size in ("nano", "tiny"):
        system = recipe.system.build()
        for stage in recipe.stages:
            assert sum(p.numel() for p in system.part(stage.trains).parameters()) > 0
            assert stage.objective.build(system).groups()
    gan, codec = recipe.stages[-1], recipe.system.codec.mono
    frames = gan.crop * codec.sample_rate / (16 * codec.hop)
    assert frames == pytest.approx(recipe.system.generator.latlen)


def test_fine_tuning_and_conditioning_are_one_setting_each():
    recipe = musika("paper").override("stages.2.learning_rate", "4e-5").override(
        "system.conditioner", '{"type": "AttributesConfig", "names": ["tempo"]}')
    assert recipe.stage("gan").learning_rate == 4e-5
    assert recipe.system.conditioner == AttributesConfig(names=("tempo",))
