"""A training run: the stages of a recipe, in order, into a run folder that the same command goes on with.

    recipe.json            what is trained; begun.json: with which seed
    stages/<name>/         checkpoint.pt, log.csv, demos/
    model/                 the model so far, as a model folder
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch

from orchestrion import __version__
from orchestrion.contracts import Batch, Progress
from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.datasets import AudioCrops, LatentCrops, pieces_of, prompts_of
from orchestrion.errors import UserError
from orchestrion.systems.folder import About, SharedCodec, save_model
from orchestrion.systems.system import Recipe, Stage, System
from orchestrion.training.checkpoint import load_checkpoint, save_checkpoint
from orchestrion.training.demos import SECONDS, write_demo
from orchestrion.training.logs import means, open_logs
from orchestrion.training.loop import Dataset, Loop
from orchestrion.training.options import TrainOptions, make_fabric
from orchestrion.training.place import RECIPE, alone_in, check_place, keep_recipe
from orchestrion.training.start import SIDE, Start

LOG_EVERY = 25  # steps
WARN_EVERY = 500  # steps, while a stage goes on to sicken


class Reporter(Protocol):
    """Who is told how the run goes."""

    def stage(self, stage: Stage, step: int) -> None: ...

    def step(self, step: int, figures: dict[str, float]) -> None: ...

    def encoding(self, share: float) -> None:
        """How much of the corpus's latents is made, before the stage's first step."""

    def say(self, sentence: str) -> None: ...


class _StoppedEncoding(Exception):
    """The run is to end while the latents are made."""


class Run:
    def __init__(self, recipe: Recipe, corpus: Corpus, folder: Path, options: TrainOptions,
                 report: Reporter, start: Start | None = None) -> None:
        options.check()
        self.recipe, self.corpus, self.folder = recipe, heard_by(recipe, corpus), folder
        self.options, self.report, self.start = options, report, start
        self.deadline = time.monotonic() + 60 * options.max_minutes if options.max_minutes else float("inf")
        self.stopping = False
        self.hours: dict[str, float] = {}
        self.given: frozenset[str] = frozenset()  # parts that came trained

    def train(self) -> Path:
        """Trains what is left to train; -> the model folder."""
        if self.options.stage:
            self.recipe.stage(self.options.stage)  # refuse an unknown name before anything is made
        fabric = make_fabric(self.options)
        check_place(self.folder, self.recipe)
        if not (self.folder / RECIPE).exists():
            self._check_parts()
        with alone_in(self.folder) if fabric.is_global_zero else nullcontext():
            if fabric.is_global_zero:
                keep_recipe(self.folder, self.recipe, self.options.seed, self.options.start, self.report.say)
            fabric.launch()
            with self._signals():
                self._train_stages(fabric)
        return self.folder / "model"

    def _check_lacking(self) -> None:
        """Stops where the codec has a part that neither --from has weights for nor a stage trains."""
        if "codec" in self.given:
            return
        lacking = SIDE if "codec.decoder" in self.given else "codec.decoder"
        # a decoder of another make begins anew, behind an encoder that stays; one that has more goes on
        trainers = ("codec", "codec.decoder", SIDE) if lacking == SIDE else (lacking,)
        if all(stage.trains not in trainers for stage in self.recipe.stages):
            raise UserError("system.codec is set to a decoder that --from has no weights for, or not all, and no stage "
                            "trains it: leave its settings as they are, or add "
                            f"--set stages.0.trains={lacking}")

    def _check_parts(self) -> None:
        """Builds all of it once, so that parts that don't go together are refused before a folder is made that
        another command couldn't go on in."""
        with torch.random.fork_rng(devices=[]):
            system = self.recipe.system.build()
            if self.start:
                self.given = self.start.give(system)
                self._check_lacking()
            if self.options.stage:
                for stage in self.recipe.stages[: self.recipe.stages.index(self.recipe.stage(self.options.stage))]:
                    self._check_skipped(stage)
            for stage in self.recipe.stages:
                system.trained(stage)
                stage.objective.build(system)

    def _train_stages(self, fabric: Any) -> None:
        torch.manual_seed(self.options.seed)
        system = self.recipe.system.build()
        self.given = self.start.give(system) if self.start else frozenset()
        system.to(fabric.device).eval()
        if "codec" not in self.given and not self._trains("codec"):  # nor does a checkpoint know what it is given here
            system.codec.begin(self._fitting(system, self.recipe.stages[0]))
        for number, stage in enumerate(self.recipe.stages, 1):
            state = self._state(stage)
            if state.get("finished"):
                self._take(system, stage, state)
            elif self.options.stage not in (None, stage.name):
                if stage.name == self.recipe.stages[-1].name:
                    break
                self._check_skipped(stage)
            elif (reached := self._train_stage(fabric, system, stage, state)) is not None:
                if fabric.is_global_zero:
                    self.report.say(f"stopped {reached} stage {stage.name} ({number} of {len(self.recipe.stages)}); "
                                    "the same command goes on")
                break

    def _take(self, system: System, stage: Stage, state: dict[str, Any]) -> None:
        """A finished stage's weights."""
        try:
            system.trained(stage).load_state_dict(state["average"])
        except RuntimeError as error:
            raise UserError(f"the checkpoint of stage {stage.name!r} in {self.folder} has other weights than this "
                            f"version builds ({error}): train in another folder with -o") from error
        self.hours[stage.name] = state["hours"]

    def _check_skipped(self, stage: Stage) -> None:
        """A stage may be trained alone only when those before it are done, or their part came trained."""
        names = [s.name for s in self.recipe.stages]
        came = stage.trains.partition(".")[0] in self.given
        if not came and names.index(stage.name) < names.index(self.options.stage or ""):
            raise UserError(f"stage {self.options.stage!r} stands on stage {stage.name!r}, which is not trained "
                            f"yet: leave out --stage, or take its part from a model with --from")

    def _train_stage(self, fabric: Any, system: System, stage: Stage, state: dict[str, Any]) -> str | None:
        """-> None where the stage is finished, or else where in it training stopped."""
        part = system.trained(stage)
        system.requires_grad_(False)
        part.requires_grad_(True)
        self._fit_conditioner(system, stage, state)
        if stage.trains == "codec" and not state and not self.start:
            system.codec.begin(self._fitting(system, stage))
        if (stage.trains == "codec.decoder" and not state
                and "codec.encoder" in self.given and "codec.decoder" not in self.given):
            system.codec.begin_decoder(self._fitting(system, stage))
        torch.manual_seed(self.options.seed + 1)
        objective = stage.objective.build(system).to(fabric.device)
        loop = Loop(fabric, stage, part, objective, self.options.seed)
        place = self.folder / "stages" / stage.name
        place.mkdir(parents=True, exist_ok=True)
        if state:
            loop.load_state_dict(state)
        elif self.start:
            self.start.give_objective(stage, objective)
        try:
            data = dataset(self.corpus, "train", system, stage, self.options.seed, self._encoding)
        except _StoppedEncoding as stopped:
            return f"with {stopped} of the latents made for"
        logs = open_logs(self.options.logs, place, loop.step) if fabric.is_global_zero else []
        self.report.stage(stage, loop.step)
        rows: list[dict[str, float]] = []
        saved = shown = time.monotonic()
        warned = -math.inf

        def tick(figures: dict[str, float]) -> bool:
            nonlocal saved, shown, warned
            now = time.monotonic()
            rows.append(figures)
            self.report.step(loop.step, figures)
            if loop.step % LOG_EVERY == 0:
                for log in logs:
                    log.write(loop.step, {**means(rows), "hours": self._hours(stage, loop.step)})
                rows.clear()
                if loop.step - warned >= WARN_EVERY and (sentence := objective.health()) is not None:
                    self.report.say(f"step {loop.step}: {sentence}")
                    warned = loop.step
            if fabric.is_global_zero and now - saved > 60 * self.options.checkpoint_minutes:
                save_checkpoint(place / "checkpoint.pt", loop.state_dict())
                saved = time.monotonic()
            if fabric.is_global_zero and now - shown > 60 * self.options.demo_minutes:
                self._interim(system, loop, place)
                shown = time.monotonic()
            return not self._over(fabric, now)

        try:
            loop.run(data, stage.steps, tick)
        finally:
            for log in logs:
                log.close()
        self._close_stage(fabric, system, loop, place)
        return None if loop.step >= stage.steps else f"at step {loop.step} of {stage.steps} in"

    def _encoding(self, share: float) -> None:
        """Hears of each piece's latents, which are kept by then; ends the run here where it is to stop."""
        self.report.encoding(share)
        if share < 1 and (self.stopping or time.monotonic() > self.deadline):
            raise _StoppedEncoding(f"{share:.0%}")

    def _fit_conditioner(self, system: System, stage: Stage, state: dict[str, Any]) -> None:
        """Shows the conditioner the corpus's prompts when it is first needed, unless an earlier stage or this stage's
        checkpoint did. One that comes trained from the run's start sees them only where it is trained further."""
        uses = {name.partition(".")[0] for name in (stage.trains, *stage.along)}
        earlier = self.recipe.stages[: self.recipe.stages.index(stage)]
        learnt = any("conditioner" in (s.trains, *s.along) for s in (*earlier, *([stage] if state else [])))
        if system.conditioner is None or learnt or not uses & {"generator", "conditioner"}:
            return
        prompts = prompts_of(pieces_of(self.corpus, "train"))
        if "conditioner" not in self.given:
            system.conditioner.fit(prompts)
        elif "conditioner" in uses:
            system.conditioner.fit_further(prompts)

    def _close_stage(self, fabric: Any, system: System, loop: Loop, place: Path) -> None:
        """Saves the stage and the model so far; the system goes on with the averaged weights."""
        stage, finished = loop.stage, loop.step >= loop.stage.steps
        self.hours[stage.name] = self._hours(stage, loop.step)
        state = loop.state_dict()
        if fabric.is_global_zero and not finished:
            save_checkpoint(place / "checkpoint.pt", state)
        own = {name: tensor.clone() for name, tensor in state["part"].items()}
        loop.part.load_state_dict(loop.average)
        system.eval().requires_grad_(False)
        if stage.fit:
            system.codec.fit(self._fitting(system, stage))
        if fabric.is_global_zero:
            self._save(system, loop)  # first: a stage that is known as finished has its model
            if finished:
                save_checkpoint(place / "checkpoint.pt", {
                    "finished": True, "hours": self.hours[stage.name], "average": loop.part.state_dict(),
                    "objective": state["objective"], "loop": {**state, "part": own}})
            self._demo(system, place, loop)
        fabric.barrier()

    def _state(self, stage: Stage) -> dict[str, Any]:
        """The stage's checkpoint; where it was finished and is to be longer now, the state in which it ended."""
        path = self.folder / "stages" / stage.name / "checkpoint.pt"
        state = load_checkpoint(path) if path.exists() else {}
        if not state.get("finished") or state["hours"] >= self._hours(stage, stage.steps):
            return state
        if "loop" not in state:
            raise UserError(f"stage {stage.name!r} was finished by an earlier version, which kept nothing to go on "
                            f"from: train on in another folder, with --from {self.folder}")
        return state["loop"]

    def _hours(self, stage: Stage, steps: int) -> float:
        """Hours of music heard, repetitions counted."""
        return steps * stage.batch * stage.crop / 3600

    def _over(self, fabric: Any, now: float) -> bool:
        """Whether to stop here; all processes stop at the same step."""
        over = self.stopping or now > self.deadline
        if fabric.world_size > 1:
            over = bool(fabric.all_reduce(torch.tensor(float(over), device=fabric.device), reduce_op="max"))
        return over

    def _fitting(self, system: System, stage: Stage, batches: int = 40) -> Iterator[torch.Tensor]:
        data = AudioCrops(self.corpus, "train", samples_of(stage, system, 6.0), self.options.seed + 2)
        for i in range(batches):
            audio = data.batch(i, 4).audio
            assert audio is not None
            yield audio.to(system.codec.mean.device)

    def _demo(self, system: System, place: Path, loop: Loop) -> None:
        if system.generator is None and system.conditioner is not None:
            return  # a CLAP makes no sound
        real = AudioCrops(self.corpus, "validation", round(SECONDS * self.corpus.sample_rate), 1).batch(0, 2)
        trains_codec = loop.stage.trains.partition(".")[0] == "codec"
        write_demo(system, real, place / "demos", loop.step, loop.objective if trains_codec else None)

    def _interim(self, system: System, loop: Loop, place: Path) -> None:
        """The averaged weights heard, and saved as the model so far, while the stage goes on with its own. A codec
        that is still to be fitted isn't saved."""
        own = {name: tensor.clone() for name, tensor in loop.part.state_dict().items()}
        loop.part.load_state_dict(loop.average)
        system.eval()
        try:
            self._demo(system, place, loop)
            if not loop.stage.fit:
                self.hours[loop.stage.name] = self._hours(loop.stage, loop.step)
                self._save(system, loop)
        finally:
            loop.part.load_state_dict(own)

    def _save(self, system: System, loop: Loop) -> None:
        """The model so far: its codec alone while nothing else of it is trained."""
        stage = loop.stage
        done = self.recipe.stages[: self.recipe.stages.index(stage) + 1]
        trained = {*self.given, *(name for s in done for name in (s.trains, *s.along))}
        if all(name.partition(".")[0] == "codec" for name in trained):
            system = system.codec_alone()
        training: dict[str, Any] = {
            "corpus": f"{self.corpus.name}, {self.corpus.hours:.1f} hours, {len(self.corpus.pieces)} pieces",
            "seed": self.options.seed, "orchestrion": __version__, "last stage": f"{stage.name}, step {loop.step} "
            f"of {stage.steps}"}
        training |= {f"hours of music heard in stage {name}": round(h, 2) for name, h in self.hours.items()}
        about = About(self.folder.name, summary=f"Trained by `orchestrion train` on {self.corpus.name}.",
                      data=f"{self.corpus.name}. Licence of the music: {self.corpus.licence}.", training=training,
                      defaults=loop.objective.options())
        save_model(system, self.folder / "model", about, self._shared_codec())

    def _shared_codec(self) -> SharedCodec | None:
        """The start's codec, unless this run trains it further and so makes another."""
        return self.start.codec if self.start and not self._trains("codec") else None

    def _trains(self, part: str) -> bool:
        """Whether any stage trains this part, or a part of it."""
        return any(part == name.partition(".")[0] for stage in self.recipe.stages
                   for name in (stage.trains, *stage.along))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a terminal that is closed end the run after this step (or piece of latents), everything
        saved."""
        def stop(*_: Any) -> None:
            self.stopping = True
            self.report.say("stopping after what is at hand, with everything saved")

        heeded = [signal.SIGINT, signal.SIGTERM]
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # under nohup it is
            heeded.append(hangup)
        before = {number: signal.signal(number, stop) for number in heeded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def heard_by(recipe: Recipe, corpus: Corpus) -> Corpus:
    """The corpus in the codec's channels. Raises UserError where it has another sample rate, or one channel where a
    second is to be learnt."""
    codec = recipe.system.build_codec()
    if corpus.channels == 1 and any(stage.trains == SIDE for stage in recipe.stages):
        raise UserError(f"the corpus at {corpus.folder} is mono, and {SIDE} learns from two channels: prepare "
                        "the music again with --channels 2")
    if corpus.sample_rate != codec.sample_rate:
        raise UserError(f"the codec takes {codec.sample_rate} Hz and the corpus at {corpus.folder} has "
                        f"{corpus.sample_rate}: prepare it with --sample-rate {codec.sample_rate}")
    return corpus.in_channels(codec.channels)


def samples_of(stage: Stage, system: System, seconds: float | None = None) -> int:
    """A crop's samples, rounded up to what the codec takes."""
    multiple = system.codec.multiple_of
    return -(-round((seconds or stage.crop) * system.codec.sample_rate) // multiple) * multiple


def frames_of(stage: Stage, system: System) -> int:
    """A crop's latent frames, rounded to what the generator takes."""
    multiple = system.generator.multiple_of if system.generator else 1
    return max(1, round(stage.crop * system.codec.sample_rate / system.codec.frame / multiple)) * multiple


def dataset(corpus: Corpus, split: str, system: System, stage: Stage, seed: int,
            progress: Progress | None = None) -> Dataset:
    """progress: told of the latents that are made first, where the stage trains on such."""
    if stage.on == "latents":
        return LatentCrops(corpus, split, system.codec, frames_of(stage, system), seed, progress)
    return AudioCrops(corpus, split, samples_of(stage, system), seed, stage.gain)


def fake_batch(system: System, stage: Stage, channels: int) -> Batch:
    """Noise of the shape of a batch, to measure speed and memory without data."""
    if stage.on == "latents":
        space = system.codec.space
        bands = getattr(space, "bands", None)
        return Batch(latents=torch.randn(stage.batch, getattr(space, "channels", 1), *([bands] if bands else []),
                                         frames_of(stage, system)))
    return Batch(audio=0.1 * torch.randn(stage.batch, channels, samples_of(stage, system)))
