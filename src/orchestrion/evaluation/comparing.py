"""Compare models: the same pieces, seeds and number of clips for all, beside what they stand between."""

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orchestrion.audio import Audio
from orchestrion.contracts import Continuous, Discrete, Progress, Prompt
from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.datasets import piece_prompt
from orchestrion.devices import cpu_name
from orchestrion.errors import UserError
from orchestrion.evaluation.adherence import known_attributes, swapped
from orchestrion.evaluation.clips import HeldOut, halves
from orchestrion.evaluation.cost import measure_cost, stated_minutes, training_minutes
from orchestrion.evaluation.curves import loss_curves, run_of
from orchestrion.evaluation.embeddings import DEFAULT, find_embedding
from orchestrion.evaluation.embeddings.embedding import Embedding, embed
from orchestrion.evaluation.figures import Clips, Judge, beside_itself, beside_the_ends
from orchestrion.evaluation.making import Shelf, keep_arrays, key_of, read_arrays
from orchestrion.evaluation.memorisation import training_music
from orchestrion.evaluation.pictures import draw_spectrogram
from orchestrion.evaluation.player import Load, Player, prompt_for, untrained
from orchestrion.evaluation.scoreboard import Contender, Cost, Curve, Kind, Measured, Scoreboard, ShownClip
from orchestrion.storage import check_writable


@dataclass(frozen=True)
class CompareOptions:
    """settings: the generators' own options, by name, for the models that have them."""

    clips: int = 64
    seconds: float = 5.0
    seed: int = 0
    embeddings: tuple[str, ...] = DEFAULT
    shown: int = 4
    settings: Mapping[str, Any] = field(default_factory=dict)
    cost: bool = True
    training_hours: float = 12.0  # of training music searched for copies; 0: none

    def check(self) -> None:
        if self.clips < 8:
            raise UserError(f"--clips must be at least 8, got {self.clips}: fewer say nothing")
        if not 1 <= self.seconds <= 60:
            raise UserError(f"--seconds must be from 1 to 60, got {self.seconds:g}")
        if self.shown < 0:
            raise UserError(f"--shown is a number of clips from 0, not {self.shown}")
        if not 0 <= self.training_hours < math.inf:
            raise UserError(f"--training-hours is a number of hours from 0, not {self.training_hours:g}")


Doing = Callable[[str], AbstractContextManager[Progress]]
"""Announces a piece of work and gives the callback for its share done."""


def quietly(_: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done: None)


def compare(sources: Sequence[str], corpus: Corpus, folder: Path, load: Load, options: CompareOptions | None = None,
            commands: Sequence[str] = (), doing: Doing = quietly) -> Scoreboard:
    """Measures models on a corpus's held-out music and writes their clips under `folder`.

    Goes on where an earlier, interrupted run with the same choices stopped. Raises `UserError` before the work where
    a model, an embedding or the corpus doesn't serve.
    """
    options = options or CompareOptions()
    options.check()
    embeddings = [find_embedding(name) for name in options.embeddings]
    players = dict(_named([load(source) for source in sources]))
    check_writable(folder / "scoreboard.json")
    return Comparison(players, corpus, folder, load, options, doing).run(commands, embeddings)


def _title(names: Sequence[str]) -> str:
    """All names, or where that would fill the page's head the first three and how many more."""
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _named(players: Sequence[Player]) -> Iterator[tuple[str, Player]]:
    """Models by names that differ: a run's folder, or a number, is added where they don't."""
    seen: dict[str, int] = {}
    for player in players:
        name = player.name
        if name in seen:
            seen[name] += 1
            name = f"{name} ({seen[name]})"
        seen.setdefault(name, 1)
        yield name, player


class Comparison:
    """One comparison under way: the shared clips, and the contenders measured so far."""

    def __init__(self, players: Mapping[str, Player], corpus: Corpus, folder: Path, load: Load, options: CompareOptions,
                 doing: Doing) -> None:
        self.players, self.corpus, self.folder, self.load = players, corpus, folder, load
        self.options, self.doing = options, doing
        self.halves = halves(corpus, options.clips, options.seconds)
        self.count = len(self.halves.real)
        self.originals = [Audio(clip.audio, corpus.sample_rate) for clip in self.halves.real]
        self.prompts = [piece_prompt(clip.piece) for clip in self.halves.real]
        self.places = [f"{clip.source}, {clip.start:.0f} s" for clip in self.halves.real]
        self.groups = _groups(self.halves.real)
        self.contenders: list[Contender] = []
        self.notes = [self.halves.note] if self.halves.note else []

    def run(self, commands: Sequence[str], embeddings: Sequence[Embedding]) -> Scoreboard:
        with self.doing("the real music"):
            real = self._known(self.halves.real, embeddings, self.prompts)
            reference = self._known(self.halves.reference, embeddings)
        training = None
        if self.options.training_hours > 0 and self.corpus.split("train"):
            with self.doing("the training music") as progress:
                training = training_music(self.corpus, self.options.training_hours, progress)
        with self.doing("the reference"):
            conditioned = any(player.system.conditioner is not None for player in self.players.values())
            asked = known_attributes([prompt.attributes for prompt in self.prompts]) if conditioned else []
            self.judge = Judge(reference, embeddings, training, asked)
        self._measure_real(real, conditioned)
        self._measure_noise_and_silence()
        for name, player in self.players.items():
            if player.system.generator is not None:
                self._measure_model(name, player)
        self._measure_codecs()
        self._measure_untrained()
        return self._board(commands)

    def _known(self, clips: Sequence[HeldOut], embeddings: Sequence[Embedding],
               prompts: Sequence[Prompt] | None = None) -> Clips:
        """Real clips with what each embedding makes of them, which is kept beside the corpus."""
        audio = [_mono(Audio(clip.audio, self.corpus.sample_rate)) for clip in clips]
        found = {}
        for embedding in embeddings:
            key = key_of(embedding.info, self.options.seconds, [(c.source, c.start, c.piece.sha256) for c in clips])
            path = self.corpus.folder / "evaluation" / f"embedded-{key}.npz"
            kept = read_arrays(path, len(clips))
            if kept is None:
                kept = embed(embedding, audio)
                keep_arrays(path, kept)
            found[embedding.info.name] = kept
        return Clips(audio, _groups(clips), prompts, embedded=found)

    # Contenders

    def _measure_real(self, clips: Clips, conditioned: bool) -> None:
        with self.doing("real music") as progress:
            figures = self.judge.judge(clips, progress) + beside_itself(clips, self.judge.transcriber)
        shelf = self._shelf("real", key_of("real", *self._places()))
        shelf.fill(min(self.options.shown, self.count), lambda numbers: [self.originals[i] for i in numbers])
        if not conditioned:
            self._enter("real", Kind.REAL, figures, shelf, self.places)
            return
        figures += self.judge.follows(clips)
        self._enter("real", Kind.REAL, figures, shelf, self.places)
        others = [self.prompts[i] for i in swapped(self.count)]
        self._enter("shuffled captions", Kind.SHUFFLED, self.judge.follows(clips, others), None)

    def _measure_noise_and_silence(self) -> None:
        for name, kind, make in (("noise", Kind.NOISE, self._noise), ("silence", Kind.SILENCE, self._silence)):
            shelf = self._fill(name, key_of(kind, *self._places()), make)
            clips = self._clips(shelf, originals=True)
            self._enter(name, kind, self._judged(name, clips, reconstructs=True), shelf)

    def _measure_model(self, name: str, player: Player) -> None:
        shelf = self._generate(name, player, player.sha256)
        asked = player.system.conditioner is not None
        clips = self._clips(shelf, asked)
        figures = self._judged(name, clips)
        if asked:
            figures += self.judge.follows(clips)
        cost = self._cost(name, player)
        run = run_of(player.source)
        self._enter(name, Kind.MODEL, figures, shelf, prompted=asked, player=player, cost=cost,
                    curves=loss_curves(run) if run else ())

    def _measure_codecs(self) -> None:
        """Every codec once, under the name of the model that is nothing else, if there is one."""
        owners: dict[str, tuple[str, Player]] = {}
        for name, player in sorted(self.players.items(), key=lambda item: item[1].system.generator is not None):
            owners.setdefault(player.codec_sha256, (name, player))
        for sha256, (name, player) in owners.items():
            alone = player.system.generator is None
            title = name if alone else f"codec of {name}"
            shelf = self._fill(title, key_of(sha256, *self._places()), self._through(player))
            figures = self._judged(title, self._clips(shelf, originals=True), reconstructs=True)
            run = run_of(player.source) if alone else None
            cost = self._cost(name, player) if alone else None
            self._enter(title, Kind.CODEC, [*figures, *_rate(player)], shelf, self.places, cost=cost,
                        of=None if alone else name, player=player if alone else None,
                        curves=loss_curves(run) if run else ())

    def _measure_untrained(self) -> None:
        """The first model that generates, or else the first codec, as it was before training."""
        name, player = min(self.players.items(), key=lambda item: item[1].system.generator is None)
        twin, title = untrained(player, self.options.seed), f"untrained {name}"
        fresh = key_of("untrained", player.system.config.digest(), player.codec_sha256)
        if player.system.generator is None:
            shelf = self._fill(title, key_of(fresh, *self._places()), self._through(twin))
            figures = self._judged(title, self._clips(shelf, originals=True), reconstructs=True)
        else:
            shelf = self._generate(title, twin, fresh)
            asked = player.system.conditioner is not None
            clips = self._clips(shelf, asked)
            figures = self._judged(title, clips) + (self.judge.follows(clips) if asked else [])
        self._enter(title, Kind.UNTRAINED, figures, shelf, of=name)

    # Their clips

    def _shelf(self, name: str, key: str) -> Shelf:
        return Shelf(self.folder / "clips" / "".join(c if c.isalnum() or c in "-_." else "-" for c in name), key)

    def _fill(self, name: str, key: str, make: Callable[[Sequence[int]], list[Audio]]) -> Shelf:
        shelf = self._shelf(name, key)
        with self.doing(f"{name}: clips") as progress:
            shelf.fill(self.count, make, progress)
        return shelf

    def _generate(self, name: str, player: Player, weights: str) -> Shelf:
        settings = {k: v for k, v in self.options.settings.items() if k in _option_names(player)}
        prompts = [prompt_for(player, prompt) for prompt in self.prompts]

        def make(numbers: Sequence[int]) -> list[Audio]:
            return player.generate_batch([prompts[i] for i in numbers], self.options.seconds,
                                         [self.options.seed + i for i in numbers], settings)

        key = key_of(weights, self.options.seed, self.options.seconds, sorted(settings.items()),
                     [(p.text, sorted(p.attributes.items())) for p in prompts if p])
        return self._fill(name, key, make)

    def _through(self, player: Player) -> Callable[[Sequence[int]], list[Audio]]:
        return lambda numbers: [player.reconstruct(self.originals[i]) for i in numbers]

    def _noise(self, numbers: Sequence[int]) -> list[Audio]:
        """White noise, each clip as loud as a real one."""
        made = []
        for i in numbers:
            level = self.originals[i].samples.square().mean().sqrt()
            generator = torch.Generator().manual_seed(self.options.seed + i)
            noise = torch.randn(self.originals[i].samples.shape, generator=generator)
            made.append(Audio((level * noise).clamp(-1, 1), self.corpus.sample_rate))
        return made

    def _silence(self, numbers: Sequence[int]) -> list[Audio]:
        return [Audio(torch.zeros_like(self.originals[i].samples), self.corpus.sample_rate) for i in numbers]

    def _clips(self, shelf: Shelf, asked: bool = False, originals: bool = False) -> Clips:
        """Read back, mono, at the corpus's rate and of one length."""
        length = round(self.options.seconds * self.corpus.sample_rate)
        audio = [_fitted(_mono(clip).resample(self.corpus.sample_rate), length) for clip in shelf.read(self.count)]
        return Clips(audio, self.groups if originals else None, self.prompts if asked else None,
                     [_mono(clip) for clip in self.originals] if originals else None)

    def _judged(self, name: str, clips: Clips, reconstructs: bool = False) -> list[Measured]:
        with self.doing(f"{name}: figures") as progress:
            return self.judge.judge(clips, progress) + (self.judge.restores(clips) if reconstructs else [])

    # The board

    def _enter(self, name: str, kind: Kind, figures: Sequence[Measured], shelf: Shelf | None,
               titles: Sequence[str] = (), prompted: bool = False, of: str | None = None,
               player: Player | None = None, cost: Cost | None = None, curves: Sequence[Curve] = ()) -> None:
        shown = []
        for i in range(min(self.options.shown, self.count) if shelf else 0):
            assert shelf is not None
            path = shelf.path(i)
            picture = draw_spectrogram(Audio.read(path), path.with_suffix(".png"))
            seed = self.options.seed + i if kind in (Kind.MODEL, Kind.UNTRAINED) else None
            shown.append(ShownClip(titles[i] if i < len(titles) else f"{name} {i + 1}",
                                   path.relative_to(self.folder).as_posix(),
                                   picture.relative_to(self.folder).as_posix(),
                                   _said(self.prompts[i]) if prompted else None, seed))
        self.contenders.append(Contender(name, kind, self.count, tuple(figures), tuple(shown), of,
                                         player.source if player else None, player.sha256 if player else None, cost,
                                         tuple(curves)))

    def _cost(self, name: str, player: Player) -> Cost | None:
        if not self.options.cost:
            return None
        run = run_of(player.source)
        minutes = training_minutes(run) if run else stated_minutes(player.about.training)
        settings = {k: v for k, v in self.options.settings.items() if k in _option_names(player)}
        with self.doing(f"{name}: speed and memory"):
            try:
                return measure_cost(self.load, player.source, self.prompts[0], settings, minutes)
            except RuntimeError as error:  # the other figures are worth having without it
                self.notes.append(str(error))
                return None

    def _places(self) -> list[object]:
        return [(clip.source, clip.start, clip.piece.sha256) for clip in self.halves.real] + [self.options.seconds]

    def _board(self, commands: Sequence[str]) -> Scoreboard:
        by_kind = {contender.kind: contender for contender in self.contenders}
        ceiling, floor = by_kind[Kind.REAL].figures, by_kind[Kind.NOISE].figures
        contenders = [replace(c, figures=tuple(beside_the_ends(c.figures, ceiling, floor)))
                      if c.kind in (Kind.MODEL, Kind.CODEC) else c for c in self.contenders]
        measured = {figure.metric for contender in contenders for figure in contender.figures}
        order = list(Kind)
        return Scoreboard(
            title=_title(list(self.players)), corpus=self.corpus.name,
            date=datetime.now().isoformat(timespec="minutes"),
            machine=f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.system()}",
            metrics=tuple(metric for metric in self.judge.metrics() if metric.name in measured),
            contenders=tuple(sorted(contenders, key=lambda c: order.index(c.kind))), commands=tuple(commands),
            settings={"clips": str(self.count), "seconds": f"{self.options.seconds:g}", "seed": str(self.options.seed),
                      "embeddings": ", ".join(self.options.embeddings)},
            notes=tuple(self.notes))


def _groups(clips: Sequence[HeldOut]) -> list[int]:
    """The piece of each clip, by number; of a single piece every clip has to count as one."""
    numbers = np.unique([clip.source for clip in clips], return_inverse=True)[1].tolist()
    return numbers if max(numbers) > 0 else list(range(len(clips)))


def _said(prompt: Prompt) -> str:
    """A prompt as the page shows it."""
    return prompt.text or ", ".join(f"{name} {value:g}" for name, value in prompt.attributes.items())


def _mono(clip: Audio) -> Audio:
    return clip.to_channels(1)


def _fitted(clip: Audio, length: int) -> Audio:
    """Cut or padded with silence to `length` samples."""
    samples = clip.samples[:, :length]
    return replace(clip, samples=torch.nn.functional.pad(samples, (0, length - samples.shape[1])))


def _option_names(player: Player) -> set[str]:
    generator = player.system.generator
    return set(getattr(generator.options, "__dataclass_fields__", {})) if generator is not None else set()


def _rate(player: Player) -> list[Measured]:
    """A codec's numbers a second, and bits."""
    space = player.system.codec.space
    if space.rate is None:
        return []
    if isinstance(space, Discrete):
        numbers = space.codebooks * space.rate
        return [Measured("latents a second", numbers), Measured("bitrate", numbers * np.log2(space.size).item() / 1000)]
    assert isinstance(space, Continuous)
    numbers = space.channels * (space.bands or 1) * space.rate
    return [Measured("latents a second", numbers), Measured("bitrate", 16 * numbers / 1000)]
