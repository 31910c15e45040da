"""What an embedding is: a clip becomes one or more points, in a space where near means alike."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.contracts import Progress
from orchestrion.evaluation.points import Frame, Points, standard_frame
from orchestrion.evaluation.transcription import Note

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class EmbeddingInfo:
    """name: in figures and headings. version: changes whenever the same clip would give other numbers.

    sample_rate: that `__call__` wants. standardise: measure every dimension in the reference's deviations,
    because their units differ; learnt embeddings are compared as they are.
    """

    name: str
    version: str
    sample_rate: int
    standardise: bool
    meaning: str


class Embedding:
    """Subclasses set `info` and implement `__call__`; those that also know words implement `text`,
    transcribers `notes`."""

    info: EmbeddingInfo
    knows_text: bool = False
    hears_notes: bool = False
    threads: int | None = None  # clips embedded at once; None: one a core

    def __call__(self, audio: Tensor) -> np.ndarray:
        """One clip, mono `[t]` float32 at `info.sample_rate` -> `[w e]`: a point for each window, or one for all."""
        raise NotImplementedError

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """-> `[b e]` in the space of the clips."""
        raise NotImplementedError(f"{self.info.name} knows no words")

    def notes(self, audio: Tensor) -> list[Note]:
        """One clip as `__call__` takes it -> its notes."""
        raise NotImplementedError(f"{self.info.name} hears no notes")

    def heard(self, clip: Audio) -> list[Note]:
        """The notes of a clip of any rate and channels."""
        return self.notes(clip.to_channels(1).resample(self.info.sample_rate).samples[0])

    def frame(self, reference: Points) -> Frame:
        """The coordinates in which distances are taken."""
        if self.info.standardise:
            return standard_frame(reference)
        width = reference.values.shape[1]
        return Frame(np.zeros(width), np.eye(width))


def embed(embedding: Embedding, clips: Sequence[Audio], progress: Progress | None = None) -> list[np.ndarray]:
    """Clips of any rate and channels -> `[w e]` each, in threads (torch leaves Python's lock while it works)."""
    rate = embedding.info.sample_rate

    @torch.inference_mode()
    def one(clip: Audio) -> np.ndarray:
        values = embedding(clip.to_channels(1).resample(rate).samples[0])
        if values.ndim != 2 or not np.isfinite(values).all():
            raise ValueError(f"{embedding.info.name} gave {values.shape} or numbers that aren't finite")
        return values

    return in_threads(one, clips, embedding.threads, progress)


def in_threads(work: Callable[[T], R], items: Sequence[T], threads: int | None = None,
               progress: Progress | None = None) -> list[R]:
    """`work(item)` for each, in order, in as many threads as torch has, each with one thread of torch's."""
    found: list[R] = []
    with ThreadPoolExecutor(threads or max(1, torch.get_num_threads()), initializer=torch.set_num_threads,
                            initargs=(1,)) as pool:
        for result in pool.map(work, items):
            found.append(result)
            if progress:
                progress(len(found) / len(items))
    return found
