"""Held-out clips of a corpus, by rules that leave nothing to choose."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import soundfile
import torch
from torch import Tensor

from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.errors import UserError

FEW = 6  # held-out pieces, below which a note says so


@dataclass(frozen=True)
class HeldOut:
    """A clip `[c t]` float32, where it comes from, and what the manifest says of its piece."""

    audio: Tensor
    source: str
    start: float  # seconds
    piece: Piece


@dataclass(frozen=True)
class Halves:
    """Held-out music in two halves that share no piece: what everything is compared with, and what stands for
    real music among the contenders. note: where the corpus was too small for the plain rule."""

    reference: list[HeldOut]
    real: list[HeldOut]
    note: str | None = None


def held_out(corpus: Corpus, count: int, seconds: float = 10.0,
             accept: Callable[[Piece], bool] = lambda piece: True) -> list[HeldOut]:
    """The middle `seconds` of `count` pieces that no training saw, one clip a piece.

    Pieces of the test split come first, then of the validation split, each in the order of a hash of their
    source; one rendering of each source; pieces shorter than a clip and those that `accept` refuses are
    passed over. Raises UserError where there are too few.
    """
    clips: list[HeldOut] = []
    seen: set[str] = set()
    for split in ("test", "validation"):
        for piece in sorted(corpus.split(split), key=_order):
            source = piece.source or piece.path
            if source in seen or piece.seconds < seconds or not accept(piece):
                continue
            seen.add(source)
            clips.append(_cut(corpus, piece, piece.seconds / 2, seconds))
            if len(clips) == count:
                return clips
    raise UserError(f"{corpus.folder} has {len(clips)} held-out pieces of {seconds:g} s or more, {count} are "
                    "needed: prepare a larger corpus or ask for fewer clips")


def halves(corpus: Corpus, count: int, seconds: float = 5.0) -> Halves:
    """`count` clips a half, or as many as there are: sources of the test and validation splits in the order
    of a hash, alternately to either half, and in each half as many places of every source, evenly spaced.

    With one held-out source its first and last parts are the halves; with none, training music has to
    serve, and the note says so. Raises UserError where there isn't a clip for each half.
    """
    sources = _by_source([piece for split in ("test", "validation") for piece in corpus.split(split)], seconds)
    note = None
    if not sources:
        sources = _by_source(corpus.split("train"), seconds)
        note = "nothing is held out in this corpus: the real clips were trained on, so figures flatter"
    if len(sources) > 1:
        sides = [_spread(sources[side::2], count, seconds) for side in (0, 1)]
    elif sources and sources[0][0].seconds >= 2 * seconds:
        places = _places(sources[0], 2 * count, seconds)
        sides = [places[: len(places) // 2], places[len(places) // 2 :]]
        note = note or "only one piece is held out: its beginning is compared with its end"
    else:
        raise UserError(f"{corpus.folder} has no two pieces of {seconds:g} s to compare: prepare a larger corpus or "
                        "ask for shorter clips")
    fewest = min(len(side) for side in sides)
    if note is None and len(sources) < FEW:
        note = f"only {len(sources)} pieces are held out: what real music varies by is hardly known"
    if note is None and fewest < count:
        note = f"the held-out music has {fewest} clips a half, fewer than the {count} that were asked for"
    reference, real = ([_cut(corpus, piece, middle, seconds) for piece, middle in _thinned(side, min(fewest, count))]
                       for side in sides)
    return Halves(reference, real, note)


Place = tuple[Piece, float]
"""A piece and the middle of a clip in it, in seconds."""


def _by_source(pieces: list[Piece], seconds: float) -> list[list[Piece]]:
    """Pieces long enough for a clip: the renderings of each source, sources in the order of their hash."""
    found: dict[str, list[Piece]] = {}
    for piece in sorted(pieces, key=_order):
        if piece.seconds >= seconds:
            found.setdefault(piece.source or piece.path, []).append(piece)
    return list(found.values())


def _spread(sources: list[list[Piece]], count: int, seconds: float) -> list[Place]:
    """About as many clips of every source; sources too short for their share leave it to the others."""
    places: list[list[Place]] = []
    left = count
    for i, renderings in enumerate(sorted(sources, key=lambda source: sum(piece.seconds for piece in source))):
        share = -(-left // (len(sources) - i))
        places.append(_places(renderings, share, seconds))
        left -= len(places[-1])
    found = sorted((each for each in places if each), key=lambda each: _order(each[0][0]))
    return [place for each in found for place in each]


def _places(renderings: list[Piece], count: int, seconds: float) -> list[Place]:
    """`count` clips or as many as don't overlap, evenly over the renderings of one source."""
    found: list[Place] = []
    for i, piece in enumerate(renderings):
        share = -(-(count - len(found)) // (len(renderings) - i))
        number = min(share, int(piece.seconds / seconds))
        found += [(piece, (j + 0.5) * piece.seconds / number) for j in range(number)]
    return found


def _thinned(places: list[Place], count: int) -> list[Place]:
    """`count` of them, evenly."""
    return [places[(2 * i + 1) * len(places) // (2 * count)] for i in range(count)]


def _order(piece: Piece) -> tuple[str, str]:
    return sha256((piece.source or piece.path).encode()).hexdigest(), piece.path


def _cut(corpus: Corpus, piece: Piece, middle: float, seconds: float) -> HeldOut:
    """The `seconds` around a moment of a piece."""
    length = round(seconds * corpus.sample_rate)
    try:
        with soundfile.SoundFile(corpus.folder / piece.path) as file:
            start = min(max(0, round(middle * corpus.sample_rate) - length // 2), max(0, file.frames - length))
            file.seek(start)
            samples = file.read(length, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        path = corpus.folder / piece.path
        raise UserError(f"{path} can't be read: run `orchestrion prepare` again") from error
    audio = np.pad(samples.T, ((0, 0), (0, length - len(samples))))  # where the manifest rounds up
    return HeldOut(torch.from_numpy(audio), piece.source or piece.path, start / corpus.sample_rate, piece)
