"""Decoding in chunks: any length in bounded memory, without seams.

A clip is cut into windows of equal length, decoded a few at a time as one batch, and given out as it
comes. A codec with `Exact` chunking gets context frames on either side that are decoded and dropped, so
that chunks equal the whole; one with `Windowed` chunking overlaps its windows, and they are cross-faded.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from orchestrion.contracts import Codec, Exact

SECONDS = 24.0  # of audio in a window, besides its context: long enough that the context costs little
BATCH = {"cpu": 1}  # windows decoded at once, by device: a CPU is quicker where they stay in its cache
BATCH_ELSEWHERE = 8

Decode = Callable[[Tensor], Tensor]


def frames_together(codec: Codec) -> int:
    """Latent frames that the codec codes at a time."""
    return max(1, codec.multiple_of // codec.frame)


def reach(codec: Codec) -> int:
    """Latent frames of context or overlap that a chunk needs on either side."""
    return codec.chunking.context if isinstance(codec.chunking, Exact) else codec.chunking.overlap


@dataclass(frozen=True)
class Window:
    """Frames `start` to `start + size` are decoded; `keep` to `keep_end` of them are this window's own."""

    start: int
    keep: int
    keep_end: int


def seconds_at_once(codec: Codec, otherwise: float) -> float:
    """Of sound in a window; a codec that goes window by window itself takes far more than others."""
    chunking = codec.chunking
    return otherwise if isinstance(chunking, Exact) or chunking.seconds is None else chunking.seconds


def decode_chunks(codec: Codec, latents: Tensor, decode: Decode, seconds: float | None = None,
                  batch: int | None = None) -> Iterator[Tensor]:
    """latents or tokens `[1 d n]` of one clip -> its audio `[c t]`, block by block.

    decode: `codec.decode` with whatever it needs besides; `[b d n]` -> `[b c n·frame]`.
    """
    count = latents.shape[-1]
    batch = batch or BATCH.get(codec.mean.device.type, BATCH_ELSEWHERE)
    step = frames_together(codec)
    if count % step:
        raise ValueError(f"this codec decodes {step} frames at a time; {count} are not a multiple")
    seconds = seconds_at_once(codec, SECONDS) if seconds is None else seconds
    core = _round_up(seconds * codec.sample_rate / codec.frame, step)
    margin = _round_up(reach(codec), step)
    if count <= core + 2 * margin:
        yield decode(latents)[0]
    elif isinstance(codec.chunking, Exact):
        yield from _exact(latents, decode, codec.frame, core, margin, batch)
    else:
        yield from _windowed(latents, decode, codec.frame, core, margin, batch)


def exact_windows(count: int, core: int, margin: int) -> tuple[int, list[Window]]:
    """-> frames per window, and windows whose own parts tile `count` frames with `margin` on either side.

    The first and the last window stand at the clip's true ends, where the codec pads as it would for the
    whole clip; so all windows are of one length.
    """
    size = core + 2 * margin
    windows = []
    for first in range(0, count, core):
        start = min(max(0, first - margin), count - size)
        windows.append(Window(start, first - start, min(first + core, count) - start))
    return size, windows


def _exact(latents: Tensor, decode: Decode, frame: int, core: int, margin: int,
           batch: int) -> Iterator[Tensor]:
    size, windows = exact_windows(latents.shape[-1], core, margin)
    for group in _groups(windows, batch):
        audio = decode(torch.cat([latents[..., w.start : w.start + size] for w in group]))
        for window, samples in zip(group, audio):
            yield samples[..., window.keep * frame : window.keep_end * frame]


def _windowed(latents: Tensor, decode: Decode, frame: int, core: int, overlap: int,
              batch: int) -> Iterator[Tensor]:
    """Windows of core + overlap frames, every `core` frames; joints are faded over the whole overlap.

    The gains add up to one, since both sides of a joint are the same sound.
    """
    count, size = latents.shape[-1], core + overlap
    starts = [*range(0, count - size, core), count - size]
    fade = overlap * frame
    rising = torch.sin(torch.linspace(0, math.pi / 2, fade, device=latents.device)).square()
    kept: Tensor | None = None  # the end of the window before, not given out yet
    for group in _groups(list(zip(starts, [*starts[1:], count])), batch):
        audio = decode(torch.cat([latents[..., start : start + size] for start, _ in group]))
        for (start, following), samples in zip(group, audio):
            if kept is not None:
                faded = kept[..., :fade] * (1 - rising) + samples[..., :fade] * rising
                samples = torch.cat([faded, samples[..., fade:]], dim=-1)
            own = (following - start) * frame
            yield samples[..., :own]
            kept = samples[..., own:]


def encode_chunks(codec: Codec, audio: Tensor, seconds: float | None = None) -> Tensor:
    """audio `[c t]` of one clip -> latents or tokens `[1 d n]`, in bounded memory.

    Blocks of `seconds` get as much context on either side as decoding has, at least one second.
    """
    frame, step = codec.frame, codec.multiple_of
    seconds = seconds_at_once(codec, 2 * SECONDS) if seconds is None else seconds
    margin = _round_up(max(reach(codec) * frame, codec.sample_rate), step)
    core = _round_up(seconds * codec.sample_rate, step)
    padded = codec.pad(audio[None])
    if padded.shape[-1] <= core + 2 * margin:
        return codec.encode(padded)
    size, windows = exact_windows(padded.shape[-1], core, margin)
    pieces = []
    for window in windows:
        latents = codec.encode(padded[..., window.start : window.start + size])
        pieces.append(latents[..., window.keep // frame : window.keep_end // frame])
    return torch.cat(pieces, dim=-1)


T = TypeVar("T")


def _groups(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _round_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
