"""What a stage and a recipe refuse."""

import pytest

from orchestrion.errors import UserError
from training.conftest import toy_recipe


@pytest.mark.parametrize(("field", "value"), [
    ("steps", "-5"), ("steps", "0"), ("batch", "-1"), ("crop", "0"), ("crop", "-1.5"), ("crop", "Infinity"),
    ("learning_rate", "NaN"), ("learning_rate", "-0.1"), ("critic_rate", "-1"), ("warmup", "-1"), ("clip", "0"),
    ("ema", "1.5"), ("betas", "[0.9, 1]"), ("gain", "[0, -6]"),
])
def test_a_stage_refuses_figures_that_can_not_be_meant(field, value):
    with pytest.raises(UserError, match=f"stage 'codec': {field} must be"):
        toy_recipe().override(f"stages.0.{field}", value)
