"""A target whose every quantity is known in closed form: data ~ N(m, s²), one number a clip."""

from torch import Tensor

from orchestrion.sampling.parameterisations import Prediction
from orchestrion.sampling.paths import Level

MEAN, DEVIATION = 1.5, 0.4


def predict(x: Tensor, level: Level) -> Prediction:
    """E[data | x] and E[noise | x]."""
    a, s = level.alpha, level.sigma
    data = MEAN + a * DEVIATION**2 / (a**2 * DEVIATION**2 + s**2) * (x - a * MEAN)
    return Prediction(data, s / (a**2 * DEVIATION**2 + s**2) * (x - a * MEAN))


def spread_at(level: Level) -> float:
    return ((level.alpha * DEVIATION) ** 2 + level.sigma**2) ** 0.5


def flow(x: Tensor, now: Level, then: Level) -> Tensor:
    """The probability-flow equation's solution: quantiles stay quantiles."""
    return then.alpha * MEAN + spread_at(then) / spread_at(now) * (x - now.alpha * MEAN)
