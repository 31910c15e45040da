"""What a stage and a recipe refuse."""

import pytest

from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig
from training.conftest import toy_recipe


@pytest.mark.parametrize(("field", "value"), [
    ("steps", "-5"), ("steps", "0"), ("batch", "-1"), ("crop", "0"), ("crop", "-1.5"), ("crop", "Infinity"),
    ("learning_rate", "NaN"), ("learning_rate", "-0.1"), ("critic_rate", "-1"), ("warmup", "-1"), ("clip", "0"),
    ("ema", "1.5"), ("betas", "[0.9, 1]"), ("gain", "[0, -6]"),
])
def test_a_stage_refuses_figures_that_can_not_be_meant(field, value):
    with pytest.raises(UserError, match=f"stage 'codec': {field} must be"):
        toy_recipe().override(f"stages.0.{field}", value)


def test_a_stage_is_set_by_its_place_or_its_name():
    recipe = toy_recipe()
    assert recipe.override("stages.codec.steps", "9") == recipe.override("stages.0.steps", "9") != recipe
    with pytest.raises(UserError, match=r"stages has 1, counted from 0, codec$"):
        recipe.override("stages.gan.steps", "9")


@pytest.mark.parametrize(("field", "value"), [("latents", "1000000000000000000"), ("frame", "1000000000000000000")])
def test_figures_that_nothing_can_be_built_with_are_the_users_mistake(field, value):
    system = toy_recipe().system.override(f"codec.{field}", value)
    for build in (system.build, system.build_codec):
        with pytest.raises(UserError, match=r"^no \w+ can be built with such figures \(\w+"):
            build()


@pytest.mark.parametrize(("width", "heads"), [(96, 7), (12, 4)])
def test_a_transformers_heads_divide_its_width(width, heads):
    with pytest.raises(UserError, match=f"a multiple of twice its heads .* got {width} for {heads}"):
        DiTConfig(width=width, heads=heads)
