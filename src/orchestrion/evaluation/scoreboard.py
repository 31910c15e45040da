"""The result of a comparison as plain data: who was measured, what came out, how to do it again.

    Scoreboard ── metrics: what each figure means
               └─ contenders: models, and what they stand between (real, codec, untrained, noise …)
                    └─ figures · clips · cost · loss curves

`evaluation.comparing` makes one, `scoreboard.json` keeps it, the report page and the tables only show it.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from orchestrion.errors import UserError
from orchestrion.storage import replacing

FORMAT_VERSION = 1


class Kind(StrEnum):
    """What a contender is. All but models are there to say how much a model's figure means."""

    MODEL = "model"
    REAL = "real"  # held-out music: the ceiling
    CODEC = "codec reconstruction"  # real music through a model's codec: the best that it could sound
    SHUFFLED = "shuffled captions"  # real music beside another's prompt: the floor of adherence
    UNTRAINED = "untrained"  # the same model before training
    NOISE = "noise"
    SILENCE = "silence"

    @property
    def is_floor(self) -> bool:
        return self in (Kind.UNTRAINED, Kind.NOISE, Kind.SILENCE, Kind.SHUFFLED)


@dataclass(frozen=True)
class MetricInfo:
    """What a figure's name means. `better`: "lower", "higher" or "nearer" (to the real clips' figure)."""

    name: str
    unit: str
    better: str
    group: str  # the heading that it stands under: "likeness: log-mel", "playing", "cost" …
    meaning: str = ""  # one sentence


@dataclass(frozen=True)
class Measured:
    """One number. low, high: a 95 % bootstrap interval, None where there is nothing to draw again.

    warning: why this number says less than it seems to (too few clips …).
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    warning: str | None = None


@dataclass(frozen=True)
class ShownClip:
    """A clip that the report plays. Paths are relative to the report's folder."""

    title: str
    audio: str
    spectrogram: str | None = None  # PNG
    prompt: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Cost:
    """What a model takes on this machine; None where it couldn't be measured or isn't known."""

    parameters: int
    realtime: float | None = None  # seconds of sound a second, one clip alone
    first_sound: float | None = None  # seconds from asking to the first block of sound, model loaded
    peak_memory: float | None = None  # bytes, of a fresh process that loads and plays
    training_minutes: float | None = None


@dataclass(frozen=True)
class Curve:
    """One loss of one training stage, thinned out: `values[i]` at step `steps[i]`."""

    stage: str
    loss: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Contender:
    """name: unique on the board. of: the model that a codec or an untrained contender belongs to."""

    name: str
    kind: Kind
    count: int  # clips measured
    figures: tuple[Measured, ...] = ()
    clips: tuple[ShownClip, ...] = ()
    of: str | None = None
    source: str | None = None  # where the model was loaded from
    sha256: str | None = None  # of its weights
    cost: Cost | None = None
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()

    def figure(self, metric: str) -> Measured | None:
        return next((figure for figure in self.figures if figure.metric == metric), None)


@dataclass(frozen=True)
class Scoreboard:
    """A whole comparison. `commands` reproduce it; `settings` are the flags in words and numbers."""

    title: str
    corpus: str
    date: str  # ISO 8601
    machine: str
    metrics: tuple[MetricInfo, ...]
    contenders: tuple[Contender, ...]
    commands: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    def of_kind(self, kind: Kind) -> list[Contender]:
        return [contender for contender in self.contenders if contender.kind == kind]

    def metric(self, name: str) -> MetricInfo:
        return next(info for info in self.metrics if info.name == name)

    @property
    def groups(self) -> list[str]:
        """The metrics' headings, in order."""
        return list(dict.fromkeys(info.group for info in self.metrics))

    def real_figure(self, metric: str) -> Measured | None:
        """The ceiling of a metric: what held-out music itself has."""
        return next((figure for real in self.of_kind(Kind.REAL) if (figure := real.figure(metric))), None)


def write_scoreboard(board: Scoreboard, path: str | Path) -> Path:
    """As JSON, whole or not at all. Raises ValueError for a figure that isn't finite."""
    from cattrs import unstructure

    path = Path(path)
    text = json.dumps(unstructure(board), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return path


def read_scoreboard(path: str | Path) -> Scoreboard:
    """Raises `UserError` where the file is missing, damaged or of a newer Orchestrion."""
    from cattrs import Converter

    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["format_version"]
    except FileNotFoundError as error:
        raise UserError(f"there is no scoreboard at {path}: make one with `orchestrion compare`") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no scoreboard ({error}): make it again with `orchestrion compare`") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UserError(f"{path} was made by a newer Orchestrion (format {version}): upgrade to read it")
    try:
        return Converter(forbid_extra_keys=True, detailed_validation=False).structure(data, Scoreboard)
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}): make it again with `orchestrion compare`") from error
