"""`orchestrion train`: a system on a corpus."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrion.cli.shared import table
from orchestrion.errors import UserError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from orchestrion.systems.system import Recipe, Stage
    from orchestrion.training.options import TrainOptions


def register(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    system: Annotated[str, typer.Argument(help="See `orchestrion systems`.")],
    data: Annotated[Path, typer.Option("--data", help="A corpus made by `orchestrion prepare`.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The run folder; by default "
                                                                       "runs/SYSTEM-SIZE-CORPUS.")] = None,
    size: Annotated[str, typer.Option(help="nano, tiny, small, … (see `orchestrion systems`).")] = "tiny",
    start: Annotated[list[str] | None, typer.Option("--from", help="A run or model whose trained parts to begin "
                                                    "with: its codec, and its generator where it is of the same make. "
                                                    "Several times: for audioldm a clap (or laion:NAME) and a hifigan."
                                                    )] = None,
    distil: Annotated[int | None, typer.Option(metavar="STEPS", help="Teach the diffusion model or flow of --from to "
                                               "need no more steps than these.")] = None,
    stage: Annotated[str | None, typer.Option(help="Train only this stage.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the "
                                                     "recipe, such as stages.codec.steps=500.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this long; the same command goes on.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only measure: parameters, time, memory.")] = False,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    processes: Annotated[int, typer.Option(help="Processes or GPUs that share each batch.")] = 1,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    log: Annotated[list[str] | None, typer.Option(help="tensorboard or wandb, beside the CSV.")] = None,
    checkpoint_minutes: Annotated[float, typer.Option(help="How often the state is saved.")] = 2.0,
    demo_minutes: Annotated[float, typer.Option(help="How often clips and pictures are made.")] = 10.0,
) -> None:
    """Train a system; after a kill, or --max-minutes, the same command goes on where it stopped."""
    import orchestrion.systems  # noqa: F401  (fills the table)
    from orchestrion.corpus.corpus import Corpus
    from orchestrion.systems.system import find_system
    from orchestrion.training.lending import begin_with
    from orchestrion.training.options import TrainOptions
    from orchestrion.training.run import Run, heard_by

    options = TrainOptions(stage, max_minutes, device, processes, precision, seed, tuple(log or ()),
                           checkpoint_minutes, demo_minutes, tuple(start or ()))
    options.check()
    recipe = find_system(system).recipe(size)
    corpus = Corpus.open(data)
    begin = begin_with(start, recipe) if start else None
    if begin:
        recipe = begin.adopt(recipe)
    if distil is not None:
        if not begin:
            raise UserError("--distil needs a trained diffusion model or flow to learn from: name it by --from")
        if distil < 1:
            raise UserError(f"--distil takes a number of steps, 1 or more, not {distil}")
        recipe = begin.distil(recipe, distil)
    for pair in change or []:
        field, found, value = pair.partition("=")
        if not found:
            raise UserError(f"--set takes FIELD=VALUE, such as stages.codec.steps=500, not {pair!r}")
        recipe = recipe.override(field, value)
    heard = heard_by(recipe, corpus)
    if heard.channels != corpus.channels:
        typer.echo(f"the corpus is {_called(corpus.channels)}; it is heard in {_called(heard.channels)}, as the codec "
                   "does", err=True)
    if dry_run:
        _estimate(recipe, heard.channels, options)
        return
    kind = "" if distil is None else f"-in-{distil}"
    folder = output or Path("runs") / f"{system}-{size}{kind}-{data.resolve().name}"
    with Display() as display:
        model = Run(recipe, heard, folder, options, display, begin).train()
    if model.exists():  # not where it was stopped before the first stage's first step
        typer.echo(str(model))


def _called(channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")


def _estimate(recipe: "Recipe", channels: int, options: "TrainOptions") -> None:
    from orchestrion.training.estimate import estimate

    rows = [(e.stage.name, e.stage.trains, f"{e.parameters / 1e6:.1f} M", str(e.stage.batch), f"{e.stage.crop:.2f} s",
             f"{e.stage.steps:,}", f"{e.seconds:.2f} s" if e.fits else "no room: lower batch", f"{e.hours:.1f} h",
             f"{e.memory / 2**30:.1f} GiB") for e in estimate(recipe, channels, options)]
    table(("stage", "trains", "parameters", "batch", "crop", "steps", "a step", "in all", "memory"), rows)


class Display:
    """A bar for the stage at hand with its losses and speed; sentences above it."""

    def __enter__(self) -> "Display":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        class Calm(Console):
            def on_broken_pipe(self) -> None:
                self.quiet = True  # Ctrl-C ends a `tee` too, and training goes on until all is saved

        self.console = Calm(stderr=True)
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                            TextColumn("{task.fields[figures]}"), TimeRemainingColumn(), console=self.console,
                            disable=not self.console.is_terminal)
        self.bar.start()
        self.average: dict[str, float] = {}
        self.encoded: TaskID | None = None
        self.told = 0.0  # share of the latents
        self.printed: float | None = None  # when, where there is no terminal
        return self

    def __exit__(self, *_: Any) -> None:
        with suppress(OSError):
            self.bar.stop()

    def stage(self, stage: "Stage", step: int) -> None:
        self.now, self.average, self.printed = stage, {}, None
        self.task = self.bar.add_task(stage.name, total=stage.steps, completed=step, figures="")
        where = f"from step {step}" if step else "from the beginning"
        self.say(f"stage {stage.name}: {stage.steps} steps, {where}")

    def encoding(self, share: float) -> None:
        if self.encoded is None:
            self.encoded = self.bar.add_task("latents, in %", total=100, figures="")
        self.bar.update(self.encoded, completed=round(100 * share), visible=share < 1)
        if self.bar.disable and (share >= self.told + 0.1 or share == 1):
            self.told = share
            self.say(f"latents, made once: {share:.0%}")

    def step(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.average[name] = value + 0.95 * (self.average.get(name, value) - value)
        if step % 10 == 0 or self.bar.disable:
            text = self._figures(step)
            self.bar.update(self.task, completed=step, figures=text)
            if self.bar.disable and self._due(step):
                self.printed = time.monotonic()
                self._print(f"{self.now.name} {step}/{self.now.steps} {text}")

    def _due(self, step: int) -> bool:
        """Whether a line is due where there is no bar: at first, soon after, and then now and again."""
        return self.printed is None or step == 10 or step % 100 == 0 or time.monotonic() - self.printed >= 60

    def _figures(self, step: int) -> str:
        seconds = self.average.get("seconds", 0) or 1
        losses = " ".join(f"{name} {value:.3f}" for name, value in self.average.items() if name != "seconds")
        heard = step * self.now.batch * self.now.crop / 3600
        return f"{losses}  {1 / seconds:.2f} steps/s  {heard:.2f} h heard"

    def say(self, sentence: str) -> None:
        self._print(sentence)

    def _print(self, line: str) -> None:
        with suppress(OSError, RuntimeError):  # a terminal that was closed; a signal in the middle of another line
            self.console.print(line, highlight=False, soft_wrap=True)
