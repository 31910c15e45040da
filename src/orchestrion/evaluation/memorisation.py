"""Is it new? How near each clip comes to the nearest passage of the training music, at any offset.

A passage's fingerprint is its log-mel spectrum, 32 bands at 10 frames a second, every band freed of its
mean over the passage: the pattern of what rises when, whatever the level and balance. The distance of two
is one minus their correlation, taken at every offset of every training piece.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.contracts import Progress
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.evaluation.bootstrap import mean_interval
from orchestrion.evaluation.embeddings.embedding import in_threads
from orchestrion.evaluation.making import keep_arrays, read_arrays
from orchestrion.evaluation.scoreboard import Measured
from orchestrion.evaluation.signals import Clip, mono

VERSION = "1"
FRAME_RATE, BANDS, LOW, HIGH = 10, 32, 60.0, 8000.0
FLOOR = 1e-3  # -60 dBFS of noise
STILL = 0.05  # nepers: passages that move less are silence or a steady tone, which nobody owns
PHASES = 2  # a clip's frames are tried at this many offsets within a tenth of a second


def fingerprint(audio: Tensor, sample_rate: int, phase: float = 0.0) -> Tensor:
    """audio `[t]` -> log-mel `[32 n]`, ten frames a second, in nepers; the first begins `phase` frames later."""
    hop = sample_rate / FRAME_RATE / 2  # two spectra a frame, so that no attack falls between
    window = 2 ** round(np.log2(2 * hop))
    count = max(0, math.floor((len(audio) - window - phase * 2 * hop) / (2 * hop)) + 1)
    if not count:
        return torch.zeros(BANDS, 0)
    starts = ((torch.arange(2 * count) + 2 * phase) * hop).round().long()
    padded = nn.functional.pad(audio.float(), (0, window))
    shape = torch.hann_window(window)
    filters = mel_filterbank(sample_rate, window, BANDS, LOW, min(HIGH, sample_rate / 2))
    frames = []
    for some in starts.split(2048):
        spectrum = torch.fft.rfft(padded[some[:, None] + torch.arange(window)] * shape).abs()
        frames.append(filters @ spectrum.T / shape.square().sum().sqrt())
    return torch.cat(frames, 1).unflatten(1, (-1, 2)).mean(2).clamp_min(FLOOR).log()


@dataclass(frozen=True)
class TrainingMusic:
    """Fingerprints `[32 n]` of training pieces; hours: how much music that is."""

    pieces: list[Tensor]
    hours: float

    def distances(self, clips: Sequence[Clip], sample_rate: int, progress: Progress | None = None) -> np.ndarray:
        """Of each clip to the nearest passage `[b]`, 0 for a copy and about 1 for what has nothing in common."""
        queries = [[fingerprint(mono(clip), sample_rate, i / PHASES) for i in range(PHASES)] for clip in clips]
        length = min(query.shape[1] for phases in queries for query in phases)
        table = torch.stack([query[:, :length] for phases in queries for query in phases])
        table = table - table.mean(2, keepdim=True)
        norm = table.flatten(1).norm(dim=1)
        moving = norm > STILL * (BANDS * length) ** 0.5
        table = table / norm.clamp_min(1e-9)[:, None, None]
        pieces = [piece for piece in self.pieces if piece.shape[1] >= length]
        found = in_threads(lambda piece: _correlations(table, piece.float()).amax(1), pieces, progress=progress)
        best = torch.stack(found).amax(0) if found else torch.zeros(len(table))
        nearest = torch.where(moving, best, 0.0).unflatten(0, (-1, PHASES)).amax(1)
        return (1 - nearest).double().numpy()


def _correlations(queries: Tensor, piece: Tensor) -> Tensor:
    """Centred unit queries `[q f l]`, a piece `[f n]` -> their correlation at every offset `[q n-l+1]`."""
    length = queries.shape[2]
    piece = piece - piece.mean(1, keepdim=True)  # for precision; the sliding mean goes too, below
    products = nn.functional.conv1d(piece[None], queries)[0]
    energy = _sliding_sum(piece.square().sum(0), length) - _sliding_sum(piece, length).square().sum(0) / length
    still = energy < STILL**2 * BANDS * length
    return torch.where(still, 0.0, products / energy.clamp_min(1e-9).sqrt())


def _sliding_sum(values: Tensor, length: int) -> Tensor:
    """`[... n]` -> sums of `length` neighbours `[... n-length+1]`."""
    sums = nn.functional.pad(values.double().cumsum(-1), (1, 0))
    return (sums[..., length:] - sums[..., :-length]).float()


def training_music(corpus: Corpus, hours: float, progress: Progress | None = None) -> TrainingMusic:
    """Fingerprints of the training split, kept in the corpus's folder; at most `hours` of it, in an order by hash.

    Read from the cache where it is whole; a corpus folder that can't be written to isn't cached in.
    """
    pieces, total = [], 0.0
    for piece in sorted(corpus.split("train"), key=lambda p: hashlib.sha256(p.path.encode()).hexdigest()):
        if total < hours * 3600:
            pieces.append(piece)
            total += piece.seconds
    heard = "".join(f"{piece.path} {piece.sha256} {piece.seconds}\n" for piece in pieces)
    digest = hashlib.sha256(f"{VERSION} {corpus.sample_rate}\n{heard}".encode()).hexdigest()[:16]
    path = corpus.folder / "evaluation" / f"fingerprints-{digest}.npz"
    kept = read_arrays(path, len(pieces))
    if kept is None:
        kept = in_threads(lambda piece: _of_piece(corpus, piece).numpy(), pieces, progress=progress)
        keep_arrays(path, kept)
    return TrainingMusic([torch.from_numpy(piece) for piece in kept], total / 3600)


def _of_piece(corpus: Corpus, piece: Piece) -> Tensor:
    samples, rate = soundfile.read(corpus.folder / piece.path, dtype="float32", always_2d=True)
    return fingerprint(torch.from_numpy(samples).mean(1), rate).half()


def measure_memorisation(distances: np.ndarray, of_real: np.ndarray,
                         groups: Sequence[int] | None = None) -> list[Measured]:
    """distances of some clips to the training music, and of held-out real ones. copied: how many are nearer to it
    than any of those; a model as good as the real composes about one in as many clips as there are real ones."""
    nearer = (distances < of_real.min()).astype(np.float64)
    median = lambda values: float(np.median(values))  # noqa: E731
    spread = mean_interval(distances.tolist(), groups, centre=median)
    low, high = mean_interval(nearer.tolist(), groups)
    return [Measured("nearest training passage", median(distances), *spread),
            Measured("copied", float(nearer.mean()), None if low is None else max(0.0, low),
                     None if high is None else min(1.0, high))]
