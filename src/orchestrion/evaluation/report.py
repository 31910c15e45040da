"""The report: one HTML page with everything inside, so that it opens from disk and can be sent to anybody."""

import base64
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrion.audio import Audio
from orchestrion.audio.files import FORMATS
from orchestrion.evaluation import tables
from orchestrion.evaluation.markdown import write_markdown
from orchestrion.evaluation.scoreboard import Contender, Curve, MetricInfo, Scoreboard, write_scoreboard
from orchestrion.storage import replacing

TEMPLATE = "report.html.jinja"
WIDTH, HEIGHT = 320, 120  # of a curve, in pixels


def write_report(board: Scoreboard, folder: Path) -> list[Path]:
    """`index.html`, `scoreboard.json` and `scoreboard.md` in the folder that holds the clips."""
    page = folder / "index.html"
    with replacing(page) as part:
        part.write_text(render(board, folder), encoding="utf-8")
    return [page, write_scoreboard(board, folder / "scoreboard.json"), write_markdown(board, folder / "scoreboard.md")]


def render(board: Scoreboard, folder: Path) -> str:
    """The page's text. Clips and pictures are read from `folder` and embedded."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    sections = [section(board, group) for group in board.groups]
    return environment.get_template(TEMPLATE).render(
        board=board, sections=sections, warnings=tables.warnings(board),
        costs=[(c, tables.cost_cells(c.cost)) for c in board.contenders if c.cost], cost_heads=tables.COST_HEADS,
        heard=[c for c in board.contenders if c.clips], drawn=[c for c in board.contenders if c.curves],
        audio=lambda clip: audio_data(folder / clip.audio), curve=draw_curve,
        picture=lambda clip: picture_data(folder / clip.spectrogram) if clip.spectrogram else "")


# Tables


@dataclass(frozen=True)
class Cell:
    text: str = ""
    interval: str = ""
    best: bool = False
    reached: float | None = None  # share of the way from floor to ceiling
    warning: int | None = None


@dataclass(frozen=True)
class Column:
    """metric: under a heading that names the embedding, without it."""

    title: str
    metric: MetricInfo
    arrow: str


@dataclass(frozen=True)
class Section:
    title: str
    columns: list[Column]
    rows: list[tuple[Contender, list[Cell]]]


def section(board: Scoreboard, group: str) -> Section:
    """One heading's table."""
    metrics = [metric for metric in board.metrics if metric.group == group]
    ending = " " + group.partition(": ")[2]
    columns = [Column(metric.name.removesuffix(ending), metric, tables.ARROWS[metric.better]) for metric in metrics]
    numbers = tables.warnings(board)
    winners = {metric.name: tables.best(board, metric) for metric in metrics}

    def cell(contender: Contender, metric: MetricInfo) -> Cell:
        figure = contender.figure(metric.name)
        if figure is None:
            return Cell()
        return Cell(tables.number(figure.value), tables.interval(figure), contender.name in winners[metric.name],
                    tables.reached(board, metric, figure.value), numbers[figure.warning] if figure.warning else None)

    return Section(group, columns, [(c, [cell(c, metric) for metric in metrics]) for c in tables.rows(board, metrics)])


# What is embedded


def audio_data(path: Path) -> str:
    """A clip as mp3 (or ogg, at rates that mp3 doesn't know) in a data URI."""
    clip = Audio.read(path)
    rates = FORMATS[".mp3"].rates or ()
    ending, kind = (".mp3", "audio/mpeg") if clip.sample_rate in rates and clip.channels < 3 else (".ogg", "audio/ogg")
    with tempfile.TemporaryDirectory() as folder:
        data = clip.write(Path(folder) / f"clip{ending}").read_bytes()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture_data(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


@dataclass(frozen=True)
class Drawn:
    """A curve in a picture of WIDTH by HEIGHT: SVG points, and the ends of its scales."""

    points: str
    low: str
    high: str
    last: str
    steps: str


def draw_curve(curve: Curve) -> Drawn:
    """Logarithmic where all values are above 0 and span more than a factor of four."""
    low, high = min(curve.values), max(curve.values)
    logarithmic = low > 0 and high / low > 4
    scale = math.log if logarithmic else float
    bottom, span = scale(low), scale(high) - scale(low) or 1.0
    first, last = curve.steps[0], max(curve.steps[-1], curve.steps[0] + 1)
    points = " ".join(f"{WIDTH * (step - first) / (last - first):.1f},{HEIGHT * (1 - (scale(v) - bottom) / span):.1f}"
                      for step, v in zip(curve.steps, curve.values))
    return Drawn(points, tables.number(low), tables.number(high), last=tables.number(curve.values[-1]),
                 steps=f"{curve.steps[-1]:,}")
