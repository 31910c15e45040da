"""What the numbers that sampling takes may be: refused here, they can't come out as broken sound."""

import math
from collections.abc import Sequence

from orchestrion.errors import UserError

MOST_STEPS = 100_000


def check_steps(steps: int) -> None:
    if not 1 <= steps <= MOST_STEPS:
        raise UserError(f"steps is a whole number from 1 to {MOST_STEPS}, not {steps}")


def check_above_zero(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{name} is a finite number above 0, not {value:g}")


def check_led_away(negated: Sequence[bool], scale: float) -> None:
    """A negative prompt counts only where guidance does."""
    if scale <= 1 and any(negated):
        raise UserError(f"a negative prompt is led away from by a cfg_scale above 1, and it is {scale:g}: "
                        "give a larger one")


def check_from_zero(name: str, value: float | None) -> None:
    """None, where the model is to choose, is right too."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise UserError(f"{name} is a finite number from 0, not {value:g}")
