"""What the page and the Markdown share: figures in words, and how far they stand from floor to ceiling."""

from orchestrion.evaluation.scoreboard import Contender, Cost, Kind, Measured, MetricInfo, Scoreboard

ARROWS = {"lower": "↓", "higher": "↑", "nearer": "≈ real"}


def number(value: float) -> str:
    """Three significant digits, never an exponent below a million."""
    if value == 0 or not -1e6 < value < 1e6:
        return f"{value:.3g}"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{value:.{digits}f}"
    return "0" if float(text) == 0 else text


def interval(figure: Measured) -> str:
    return "" if figure.low is None or figure.high is None else f"{number(figure.low)} … {number(figure.high)}"


def distance(metric: MetricInfo, value: float, real: float) -> float:
    """How far a figure stands from the real one's, on the side where that is worse."""
    if metric.better == "nearer":
        return abs(value - real)
    return max(0.0, value - real if metric.better == "lower" else real - value)


def reached(board: Scoreboard, metric: MetricInfo, value: float) -> float | None:
    """Share of the way from the best floor (0) to the ceiling (1); None where there is no way between."""
    real = board.real_figure(metric.name)
    if real is None:
        return None
    floors = [distance(metric, figure.value, real.value) for contender in board.contenders if contender.kind.is_floor
              if (figure := contender.figure(metric.name)) is not None]
    if not floors or min(floors) <= 0:
        return None
    return min(1.0, max(0.0, 1 - distance(metric, value, real.value) / min(floors)))


def best(board: Scoreboard, metric: MetricInfo) -> set[str]:
    """Names of the models whose figure is the best; empty where there is only one model."""
    figures = {c.name: figure.value for c in board.of_kind(Kind.MODEL) if (figure := c.figure(metric.name))}
    real = board.real_figure(metric.name)
    if len(figures) < 2 or (metric.better == "nearer" and real is None):
        return set()
    rank = {"lower": lambda v: v, "higher": lambda v: -v, "nearer": lambda v: abs(v - (real.value if real else 0))}
    ranks = {name: rank[metric.better](value) for name, value in figures.items()}
    return {name for name, value in ranks.items() if value == min(ranks.values())}


def rows(board: Scoreboard, metrics: list[MetricInfo]) -> list[Contender]:
    """Contenders that have any of these figures."""
    return [c for c in board.contenders if any(c.figure(metric.name) for metric in metrics)]


COST_HEADS = ("parameters", "× real time", "first sound", "peak memory", "training")


def cost_cells(cost: Cost) -> list[str]:
    """In the order of COST_HEADS, with units; "" for what isn't known."""
    def known(value: float | None, form: str, scale: float = 1.0) -> str:
        return "" if value is None else form.format(number(value * scale))

    return [known(cost.parameters, "{} M", 1e-6), known(cost.realtime, "{} ×"), known(cost.first_sound, "{} s"),
            known(cost.peak_memory, "{} MiB", 2**-20), known(cost.training_minutes, "{} min")]


def warnings(board: Scoreboard) -> dict[str, int]:
    """Every different warning, numbered from 1 in the order of the table."""
    found = [figure.warning for contender in board.contenders for figure in contender.figures if figure.warning]
    return {text: i + 1 for i, text in enumerate(dict.fromkeys(found))}
