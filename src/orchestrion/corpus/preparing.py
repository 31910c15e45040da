"""`prepare`: a collection of music into a corpus, over all cores or a cluster, resumable at any moment."""

import multiprocessing
import os
import signal
import threading
import time
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from orchestrion import __version__
from orchestrion.corpus.journal import Journal
from orchestrion.corpus.making import Outcome, Sound, forget, make
from orchestrion.corpus.rendering import find_fluidsynth, find_soundfont
from orchestrion.corpus.sources import Item, Source, find_source
from orchestrion.corpus.splits import place_of
from orchestrion.corpus.store import Store
from orchestrion.errors import UserError

CLUSTER_PATIENCE = 10  # seconds
UNREADABLE = (UserError, OSError, ValueError, KeyError, zipfile.BadZipFile, RuntimeError)  # a piece's annotations


@dataclass(frozen=True)
class PrepareOptions:
    """How a corpus is to sound, and how much of it to make."""

    name: str | None = None  # None: the source's
    licence: str | None = None  # None: the collection's own
    sample_rate: int = 44_100
    channels: int = 2
    soundfont: str | Path | None = None  # None: found in the usual places
    programs: tuple[int, ...] = ()  # General MIDI, 0 to 127; none: as the file says
    reverb: bool = False  # FluidSynth's reverb and chorus
    limit: int | None = None  # pieces
    hours: float | None = None
    workers: int | None = None  # processes; None: one a core
    cluster: str | None = None  # address of a Dask scheduler, whose workers see the same paths
    vary: bool = False  # MIDI is played at speeds, pitches and loudnesses of each piece's own

    def check(self) -> None:
        """Raises UserError where a figure can't be meant."""
        if not 4000 <= self.sample_rate <= 192_000:
            raise UserError(f"a sample rate of {self.sample_rate} Hz can't be made: choose 4000 to 192000")
        if self.channels not in (1, 2):
            raise UserError(f"a corpus has 1 or 2 channels, not {self.channels}")
        for program in self.programs:
            if not 0 <= program <= 127:
                raise UserError(f"there is no General MIDI program {program}: they go from 0 (piano) to 127")
        for what, figure in (("limit", self.limit), ("hours", self.hours), ("workers", self.workers)):
            if figure is not None and not figure > 0:
                raise UserError(f"--{what} must be above zero, got {figure}")


@dataclass
class Summary:
    """How far a preparation is, and what came of it."""

    total: int = 0  # pieces of the source, or the limit
    pieces: int = 0
    seconds: float = 0.0  # of music, all of the corpus's
    made: float = 0.0  # seconds of music made by this run
    elapsed: float = 0.0  # seconds that this run took
    splits: Counter[str] = field(default_factory=Counter)  # pieces
    rejected: Counter[str] = field(default_factory=Counter)  # by reason

    def count(self, outcome: Outcome) -> None:
        if outcome.piece:
            self.pieces += 1
            self.seconds += outcome.piece.seconds
            self.splits[outcome.piece.split] += 1
        else:
            self.reject(outcome.reason)

    def reject(self, reason: str) -> None:
        self.rejected[reason.partition(":")[0].partition(" (")[0].partition(" of ")[0]] += 1

    @property
    def speed(self) -> float:
        """Times real time, of this run."""
        return self.made / self.elapsed if self.elapsed else 0.0


Watch = Callable[[Summary], None]
"""Called after every piece."""


def prepare(
    source: str | Path,
    output: str | Path,
    options: PrepareOptions | None = None,
    progress: Watch | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Makes (or goes on with) the corpus `output` from the collection `source`.

    The same command after a kill does only what is missing; with a higher `limit` or new files it adds.
    Pieces come in an order drawn from their names, so that a small corpus is a fair sample.
    executor: where the work is done; by default processes of this machine or the cluster of the options.
    Called from a script, it belongs under `if __name__ == "__main__":`, since the processes import it.
    Raises UserError where nothing can be made; single bad files go to `rejected.jsonl`.
    """
    options, output = options or PrepareOptions(), Path(output).expanduser().absolute()
    options.check()
    store = Store(source)
    collection = find_source(store)
    if output == Path(store.address) or Path(store.address) in output.parents:
        raise UserError(f"the corpus {output} would lie inside its own source: choose a folder outside")
    pieces = sorted(collection.pieces(), key=lambda piece: place_of(f"order/{piece}"))
    sound = Sound(
        options.sample_rate,
        options.channels,
        soundfont_for(collection, pieces, options),
        options.programs,
        options.reverb,
        options.licence or collection.licence,
        options.vary,
    )
    journal = Journal(output, settings(collection, sound))
    summary = Summary(total=min(len(pieces), options.limit or len(pieces)))
    began = time.monotonic()
    try:
        for outcome in journal.outcomes.values():
            summary.count(outcome)
        heard = {o.piece.sha256: key for key, o in journal.outcomes.items() if o.piece}
        with nullcontext(executor) if executor else opened_executor(options) as workers:

            def keep(outcome: Outcome) -> Outcome:
                outcome = unless_heard(outcome, heard, output)
                journal.add(outcome)
                summary.count(outcome)
                return outcome

            for outcome in outcomes(collection, pieces, output, sound, journal, options, workers, summary, keep):
                outcome = keep(outcome)
                summary.made += outcome.piece.seconds if outcome.piece else 0.0
                summary.elapsed = time.monotonic() - began
                if progress:
                    progress(summary)
        strays = collection.strays()
        for reason in strays.values():
            summary.reject(reason)
        facts = {
            "name": options.name or collection.store.name,
            "licence": sound.licence,
            "sample_rate": sound.sample_rate,
            "channels": sound.channels,
            "made_by": f"orchestrion {__version__} from {collection.title}",
        }
        journal.finish(facts, ((f"{collection.kind}/{name}", reason) for name, reason in strays.items()))
    finally:
        journal.close()
    summary.elapsed = time.monotonic() - began
    return summary


def unless_heard(outcome: Outcome, heard: dict[str, str], output: Path) -> Outcome:
    """The outcome, or its refusal where another piece has the same content. heard: keys by content."""
    if outcome.piece is None:
        return outcome
    first = heard.setdefault(outcome.piece.sha256, outcome.key)
    if first == outcome.key:
        return outcome
    forget(output, outcome.piece)
    return Outcome(outcome.key, reason=f"duplicate by content of {first}")


def outcomes(
    collection: Source,
    pieces: list[str],
    output: Path,
    sound: Sound,
    journal: Journal,
    options: PrepareOptions,
    executor: Executor,
    summary: Summary,
    keep: Callable[[Outcome], object],
) -> Iterator[Outcome]:
    """The outcomes of pieces not yet in the journal, in order, until the limit or the hours are reached.

    Work is handed out a little ahead; what was made beyond the limit is removed again. Where it ends before, by Ctrl-C
    or a mistake, `keep` is told of the pieces that were being made: they are finished by then.
    """
    waiting: deque[Future[Outcome]] = deque()
    todo = iter(pieces)
    ahead = 2 * (options.workers or os.cpu_count() or 1) if not options.cluster else 256

    def enough(coming: int = 0) -> bool:
        return (options.limit is not None and summary.pieces + coming >= options.limit) or (
            options.hours is not None and summary.seconds >= 3600 * options.hours
        )

    try:
        while not enough():
            while len(waiting) < ahead and not enough(len(waiting)):
                future = next_work(todo, collection, output, sound, journal, executor)
                if future is None:
                    break
                waiting.append(future)
            if not waiting:
                return
            outcome = waiting[0].result()  # an interrupt comes while this waits, and leaves it in its place
            waiting.popleft()
            yield outcome
    except BrokenProcessPool as error:
        raise UserError(
            "a worker died, probably for want of memory: run the same command again with "
            "fewer --workers, it goes on where it stopped"
        ) from error
    finally:
        for future in waiting:
            if future.cancel() or future.exception():
                continue
            if not enough():
                with suppress(UserError):  # a full disk is being told of already
                    keep(future.result())
            elif piece := future.result().piece:
                forget(output, piece)


def next_work(
    todo: Iterator[str], collection: Source, output: Path, sound: Sound, journal: Journal, executor: Executor
) -> Future[Outcome] | None:
    """Hands out the next piece that isn't in the journal; None where there are no more."""
    for piece in todo:
        try:
            item: Item = collection.item(piece)
        except UNREADABLE as error:
            key, reason = f"{collection.kind}/{piece}", str(error)
            if key in journal.outcomes:
                continue
            refused: Future[Outcome] = Future()
            refused.set_result(
                Outcome(
                    key,
                    reason=reason if isinstance(error, UserError) else f"unreadable annotations ({reason})",
                )
            )
            return refused
        if item.key not in journal.outcomes:
            with deaf_to_interrupts():  # a pool starts its processes as work comes
                return executor.submit(make, item, collection.store, output, sound)
    return None


def soundfont_for(collection: Source, pieces: list[str], options: PrepareOptions) -> Path | None:
    """The soundfont, where any piece needs one; looks before the work starts, and at one that is named in any case."""
    if options.soundfont is not None:
        find_soundfont(options.soundfont)
    if not any(needs_rendering(collection, piece) for piece in pieces):
        return None
    find_fluidsynth()
    return find_soundfont(options.soundfont)


def needs_rendering(collection: Source, piece: str) -> bool:
    try:
        return collection.item(piece).recording is None
    except UNREADABLE:
        return False


def settings(collection: Source, sound: Sound) -> dict[str, Any]:
    """What must be the same for a corpus to be gone on with."""
    return {
        "source": collection.store.name,
        "kind": collection.kind,
        "sample_rate": sound.sample_rate,
        "channels": sound.channels,
        "soundfont": sound.soundfont.name if sound.soundfont else None,
        "programs": list(sound.programs),
        "reverb": sound.reverb,
        "licence": sound.licence,
        **({"vary": True} if sound.vary else {}),
    }


@contextmanager
def opened_executor(options: PrepareOptions) -> Iterator[Executor]:
    """Processes of this machine, or a Dask cluster. Raises UserError where the cluster can't be reached."""
    if options.cluster is None:
        # spawned, not forked: a progress bar's threads or torch's may hold locks when a fork happens
        context = multiprocessing.get_context("spawn")
        count = options.workers or os.cpu_count()
        with ProcessPoolExecutor(count, context, end_with_parent, (os.getpid(),)) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError("--cluster needs Dask: pip install 'orchestrion[cluster]'") from error
    try:
        client = Client(options.cluster, timeout=CLUSTER_PATIENCE)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {options.cluster}: {error}") from error
    with client:
        yield client.get_executor()


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started here don't hear Ctrl-C, not even while they import; ours is heard afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # starting it would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """Lets a worker notice that its parent was killed; the pool itself would wait for ever.

    Ctrl-C is the parent's to handle.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
