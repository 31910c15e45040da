import math

import pytest

from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionOptions
from orchestrion.generators.flow import FlowOptions
from orchestrion.generators.latent_gan import GanOptions
from orchestrion.generators.noise_ladder import LadderOptions
from orchestrion.sampling.numbers import check_led_away


@pytest.mark.parametrize("family, name, wrong", [
    (FlowOptions, "shift", (0, -1, math.nan, math.inf)),
    (FlowOptions, "cfg_scale", (-1, math.nan, math.inf)),
    (FlowOptions, "cfg_from", (-0.1, math.nan)),
    (FlowOptions, "cfg_until", (-0.1, math.nan)),
    (FlowOptions, "steps", (0, -3, 10**9)),
    (DiffusionOptions, "eta", (-0.1, math.nan, math.inf)),
    (DiffusionOptions, "cfg_scale", (-1, math.nan, math.inf)),
    (DiffusionOptions, "resamples", (0, -1)),
    (DiffusionOptions, "steps", (0, -3)),
    (GanOptions, "variety", (0, -1, math.nan, math.inf)),
    (LadderOptions, "steps", (0, -3)),
])
def test_numbers_that_would_come_out_as_broken_sound_are_refused(family, name, wrong):
    for value in wrong:
        with pytest.raises(UserError, match=f"{name} is a (finite|whole) number"):
            family(**{name: value})


def test_a_negative_prompt_without_guidance_is_refused():
    with pytest.raises(UserError, match="cfg_scale above 1"):
        check_led_away([False, True], 1.0)
    with pytest.raises(UserError, match=r"it is 0\.5"):  # that would lead towards it
        check_led_away([True], 0.5)
    check_led_away([True], 2.0)
    check_led_away([False], 1.0)


def test_the_usual_numbers_pass():
    FlowOptions(steps=1, shift=0.5, cfg_scale=0)
    DiffusionOptions(eta=0, cfg_scale=0, resamples=3)
    GanOptions(variety=0.1)
