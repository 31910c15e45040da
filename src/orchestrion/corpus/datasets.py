"""Training crops. A batch is a pure function of (seed, step), so resuming needs no saved state."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from orchestrion.contracts import Batch, Codec, Discrete, Progress, Prompt
from orchestrion.corpus.captions import caption
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.corpus.latents import cached_latents
from orchestrion.corpus.music import during
from orchestrion.errors import UserError

AROUND = 3.0  # seconds before and after a crop, whose beats it is told too


def pieces_of(corpus: Corpus, split: str) -> list[Piece]:
    """The pieces of a split; a corpus too small to have that split lends its training pieces."""
    pieces = corpus.split(split) or corpus.split("train") or list(corpus.pieces)
    if not pieces:
        raise UserError(f"the corpus at {corpus.folder} has no pieces to train on")
    return pieces


def piece_prompt(piece: Piece) -> Prompt:
    """What the manifest knows of a piece, as a prompt."""
    numbers = {k: float(v) for k, v in piece.attributes.items() if isinstance(v, int | float)}
    return Prompt(
        text=piece.caption or None,
        artist=piece.facts.get("artist") or piece.facts.get("composer"),
        genre=piece.facts.get("genre"),
        attributes=numbers,
    )


def prompts_of(pieces: list[Piece], draws: int = 24) -> Iterator[Prompt]:
    """What training says of the pieces, a few wordings of each: what a conditioner learns its words and ranges from."""
    for piece in pieces:
        for number in range(draws):
            yield worded(piece, f"wording/{number}")


def worded(piece: Piece, key: str, start: float = 0.0, seconds: float | None = None) -> Prompt:
    """The prompt of a stretch of a piece, with a caption drawn from `key`: what is true of the stretch, in another
    wording, subset and order for every key. A caption that somebody wrote into the manifest stays as it is."""
    told = during(piece.curves, start, seconds or piece.seconds)
    attributes = {name: value for name, value in (piece.attributes | told).items() if isinstance(value, int | float)}
    own = piece.caption and piece.caption != caption(piece.source, piece.attributes, piece.facts)
    text = piece.caption if own else caption(f"{key}/{piece.source}", attributes, piece.facts)
    end = start + (seconds or piece.seconds)
    beats = [beat - start for beat in piece.beats if start - AROUND < beat < end + AROUND]
    return replace(piece_prompt(piece), text=text or None, attributes=attributes, beats=beats)


def draw(rng: np.random.Generator, seconds: np.ndarray, crop: float, size: int) -> list[tuple[int, float]]:
    """`size` times (piece, start in seconds), every moment of the corpus being as likely as any other.

    A piece shorter than the crop starts at 0 and is padded by the reader.
    """
    room = np.maximum(seconds - crop, crop / 4)
    picks = rng.choice(len(seconds), size=size, p=room / room.sum())
    return [(int(i), float(rng.uniform(0, max(seconds[i] - crop, 0)))) for i in picks]


class AudioCrops:
    """Crops of `samples` samples; `gain` is a range in dB from which each crop's level is drawn."""

    def __init__(
        self, corpus: Corpus, split: str, samples: int, seed: int = 0, gain: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self.corpus, self.samples, self.seed, self.gain = corpus, samples, seed, gain
        self.pieces = pieces_of(corpus, split)
        self.seconds = np.array([piece.seconds for piece in self.pieces])

    def batch(self, step: int, size: int) -> Batch:
        """Batch number `step`: audio `[b c t]` with b = size, and a prompt for each crop."""
        rng = np.random.default_rng((self.seed, step))
        rate = self.corpus.sample_rate
        picks = draw(rng, self.seconds, self.samples / rate, size)
        gains = 10 ** (rng.uniform(*self.gain, size) / 20)
        audio = np.zeros((size, self.corpus.channels, self.samples), dtype=np.float32)
        for row, (index, start), gain in zip(audio, picks, gains):
            found = self.corpus.read(self.pieces[index], round(start * rate), self.samples)
            row[:, : found.shape[1]] = gain * found
        prompts = [worded(self.pieces[i], f"{self.seed}/{step}/{row}", start, self.samples / rate)
                   for row, (i, start) in enumerate(picks)]
        return Batch(audio=torch.from_numpy(audio), prompts=prompts)


class LatentCrops:
    """Crops of `frames` frames of a frozen codec's standardised latents, which are made when first needed."""

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        codec: Codec,
        frames: int,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self.frames, self.seed, self.rate = frames, seed, codec.sample_rate / codec.frame
        self.tokens = isinstance(codec.space, Discrete)
        self.pieces = pieces_of(corpus, split)
        self.latents = cached_latents(corpus, self.pieces, split, codec, progress)

    def batch(self, step: int, size: int) -> Batch:
        """Batch number `step`: latents `[b d n]` in float32 (tokens `[b k n]` in int64) with b = size and
        n = frames, and a prompt for each crop. A shorter piece is followed by silence."""
        rng = np.random.default_rng((self.seed, step))
        found = self.latents
        picks = draw(rng, found.counts.astype(float), self.frames, size)
        crops = np.empty((size, self.frames, *found.frames.shape[1:]), found.frames.dtype)
        for crop, (index, start) in zip(crops, picks):
            first = found.starts[index] + min(round(start), max(found.counts[index] - self.frames, 0))
            count = min(self.frames, found.counts[index])
            crop[:count], crop[count:] = found.frames[first : first + count], found.silence
        latents = torch.from_numpy(crops.astype(np.int64 if self.tokens else np.float32)).movedim(1, -1)
        prompts = [worded(self.pieces[i], f"{self.seed}/{step}/{row}", start / self.rate, self.frames / self.rate)
                   for row, (i, start) in enumerate(picks)]
        return Batch(latents=latents.contiguous(), prompts=prompts)
