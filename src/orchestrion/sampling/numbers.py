"""What the numbers that sampling takes may be: refused here, they can't come out as broken sound."""

import math

from orchestrion.errors import UserError

MOST_STEPS = 100_000


def check_steps(steps: int) -> None:
    if not 1 <= steps <= MOST_STEPS:
        raise UserError(f"steps is a whole number from 1 to {MOST_STEPS}, not {steps}")


def check_above_zero(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{name} is a finite number above 0, not {value:g}")


def check_from_zero(name: str, value: float | None) -> None:
    """None, where the model is to choose, is right too."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise UserError(f"{name} is a finite number from 0, not {value:g}")
