"""Sound through a model as it comes: equal blocks in and out, their delay, and whether the machine keeps up."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from orchestrion.codecs.streaming import StreamingCodec
from orchestrion.errors import UserError
from orchestrion.playing.model import Model
from orchestrion.playing.transfer import UNEDITED, LatentEdit


@dataclass
class Report:
    """How streaming went. Times in seconds."""

    block: float  # that a block lasts
    latency: float = 0.0  # from a sound in to the same sound out, the block itself included
    times: list[float] = field(default_factory=list)  # that each block took

    @property
    def overruns(self) -> int:
        """Blocks that took longer than they last: in a concert, so many gaps."""
        return sum(t > self.block for t in self.times)

    def __str__(self) -> str:
        times = sorted(self.times) or [0.0]
        p99 = times[min(len(times) - 1, math.ceil(0.99 * len(times)) - 1)]
        return (f"latency {1000 * self.latency:.0f} ms, of which the block is {1000 * self.block:.1f}; {len(times)} "
                f"blocks, each in {1000 * times[len(times) // 2]:.1f} ms (median), 99 % within {1000 * p99:.1f}; "
                f"overruns: {self.overruns}")


class Stream:
    """`stream(block)`: samples `[c size]` in, as many out, later by `delay` samples, which are silent at first."""

    def __init__(self, model: Model, size: int, edit: LatentEdit = UNEDITED) -> None:
        codec = model.system.codec
        if not isinstance(codec, StreamingCodec):
            raise UserError(f"{model.name} codes whole clips ({type(codec).__name__}): to stream, use a RAVE, best one "
                            "trained with --set system.codec.causal=true")
        edit.check(model)
        self.model, self.codec, self.edit = model, codec, edit
        # a block may end just before a frame does; what frames give late is heard by trying, which also warms up
        self._restart()
        behind = [codec.frame * (i + 1) - self._produce(torch.zeros(model.channels, codec.frame)).shape[-1]
                  for i in range(getattr(codec, "reach", 8) + 4)]
        self.delay = behind[-1] + codec.frame - math.gcd(size, codec.frame)  # samples
        self._restart()

    def __call__(self, block: Tensor) -> Tensor:
        waiting = self._produce(block)
        made, self.waiting = waiting[:, : block.shape[-1]], waiting[:, block.shape[-1] :]
        return made

    def _restart(self) -> None:
        self.encoding: Any = None
        self.decoding: Any = None
        self.frames = 0
        self.waiting = torch.zeros(self.model.channels, getattr(self, "delay", 0))

    @torch.inference_mode()
    def _produce(self, block: Tensor) -> Tensor:
        """-> what waits to be given out, with what this block adds."""
        with self.model._precision():
            audio = block[None].to(self.model.device)
            latents, self.encoding = self.codec.encode_stream(audio, self.encoding)
            if latents.shape[-1]:
                latents, self.frames = self.edit(latents, self.frames), self.frames + latents.shape[-1]
                made, self.decoding = self.codec.decode_stream(latents, self.decoding)
                self.waiting = torch.cat([self.waiting, made[0].float().cpu()], -1)
        return self.waiting


def play(stream: Stream, blocks: Iterable[Tensor], size: int, report: Report) -> Iterator[Tensor]:
    """Blocks `[c size]` through the stream, timed."""
    report.latency = (stream.delay + size + filter_delay(stream.codec)) / stream.model.sample_rate
    for block in blocks:
        began = time.perf_counter()
        made = stream(block)
        report.times.append(time.perf_counter() - began)
        yield made


def filter_delay(codec: StreamingCodec) -> int:
    """Samples that the codec itself sets a sound back by: its filter bank's, when it may not look ahead."""
    bank: Any = getattr(codec, "pqmf", None)
    return bank.bands * (1 + (bank.left - bank.right)) if bank is not None else 0


def cut(samples: Tensor, size: int) -> Iterator[Tensor]:
    """samples `[c t]` -> blocks of `size`, the last one filled with silence."""
    for block in samples.split(size, -1):
        yield torch.nn.functional.pad(block, (0, size - block.shape[-1]))
