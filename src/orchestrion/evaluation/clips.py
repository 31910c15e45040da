"""Held-out clips of a corpus, by a rule that leaves nothing to choose."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import soundfile
import torch
from torch import Tensor

from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.errors import UserError


@dataclass(frozen=True)
class HeldOut:
    """A clip `[c t]` float32 and where it comes from."""

    audio: Tensor
    source: str
    start: float  # seconds


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
            clips.append(_middle(corpus, piece, seconds))
            if len(clips) == count:
                return clips
    raise UserError(f"{corpus.folder} has {len(clips)} held-out pieces of {seconds:g} s or more, {count} are "
                    "needed: prepare a larger corpus or ask for fewer clips")


def _order(piece: Piece) -> tuple[str, str]:
    return sha256((piece.source or piece.path).encode()).hexdigest(), piece.path


def _middle(corpus: Corpus, piece: Piece, seconds: float) -> HeldOut:
    length = round(seconds * corpus.sample_rate)
    try:
        with soundfile.SoundFile(corpus.folder / piece.path) as file:
            start = max(0, (file.frames - length) // 2)
            file.seek(start)
            samples = file.read(length, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        path = corpus.folder / piece.path
        raise UserError(f"{path} can't be read: run `orchestrion prepare` again") from error
    return HeldOut(torch.from_numpy(np.ascontiguousarray(samples.T)), piece.source or piece.path,
                   start / corpus.sample_rate)
