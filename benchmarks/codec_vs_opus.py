"""Our codecs beside Opus on held-out clips: distances, latents a second and bits.

    python benchmarks/codec_vs_opus.py MODEL... --data CORPUS

24 clips by the fixed rule of `orchestrion.evaluation.clips.held_out`, 10 s each, mixed to mono. Every
continuous codec has two rows: its latents as they are (16 bits each), and rounded to half a deviation,
with the bits that an entropy coder would need for them. Without MODEL, Opus alone.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch
from common import count, machine, run, table
from opus import opus
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.contracts import Discrete
from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError
from orchestrion.evaluation.clips import held_out
from orchestrion.evaluation.embeddings import find_embedding
from orchestrion.evaluation.embeddings.embedding import Embedding
from orchestrion.evaluation.reconstruction import distances
from orchestrion.evaluation.transcription import note_f1
from orchestrion.playing.model import Model

STEP = 0.5  # deviations


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--data", required=True, help="a prepared corpus")
    parser.add_argument("--clips", type=count, default=24)
    parser.add_argument("--all-instruments", action="store_true", help="not the piano alone")
    parser.add_argument("--transcriber", metavar="FILE", help="basic-pitch's nmp.onnx: adds note F1")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()

    corpus = Corpus.open(args.data)
    piano = lambda piece: args.all_instruments or piece.attributes.get("program", 0) == 0  # noqa: E731
    clips = [clip.audio.mean(0, keepdim=True) for clip in held_out(corpus, args.clips, accept=piano)]
    contenders = {f"Opus {rate}": opus_row(rate, corpus.sample_rate) for rate in (8, 12, 24)}
    for name in args.models:
        contenders |= codec_rows(name, corpus.sample_rate)

    transcriber = find_embedding(f"basic-pitch:{args.transcriber}") if args.transcriber else None
    rows = {}
    for name, contender in contenders.items():
        made, latents, kilobits = contender(clips)
        heard = {"note F1": note_agreement(clips, made, corpus.sample_rate, transcriber)} if transcriber else {}
        rows[name] = {**distances(clips, made, corpus.sample_rate), **heard, "latents/s": latents, "kbit/s": kilobits}
    columns = list(next(iter(rows.values())))
    print(f"{len(clips)} held-out clips of 10 s, mono, {corpus.name}; {machine()}\n")
    print(table(["", *columns], [[name, *row.values()] for name, row in rows.items()]))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


Contender = Callable[[list[Tensor]], tuple[list[Tensor], float | str, float]]
"""Mono clips `[1 t]` -> reconstructions `[1 t]`, latents a second, kbit/s."""


def opus_row(rate: int, sample_rate: int) -> Contender:
    def contend(clips: list[Tensor]) -> tuple[list[Tensor], float | str, float]:
        made, bits = zip(*(opus(clip, sample_rate, rate) for clip in clips))
        return list(made), "", sum(bits) / 1000 / seconds(clips, sample_rate)
    return contend


def codec_rows(name: str, sample_rate: int) -> dict[str, Contender]:
    model = Model.load(name)
    codec = model.system.codec
    if codec.sample_rate != sample_rate:
        raise UserError(f"{name} works at {codec.sample_rate} Hz, the corpus is at {sample_rate} Hz: "
                        "prepare the corpus again at the model's rate")
    label = Path(name).name
    if isinstance(codec.space, Discrete):
        return {label: lambda clips: through(model, clips, None)}
    return {label: lambda clips: through(model, clips, None),
            f"{label}, rounded": lambda clips: through(model, clips, STEP)}


def through(model: Model, clips: list[Tensor], step: float | None) -> tuple[list[Tensor], float, float]:
    """Mono clips through a codec; one of two channels is given the same on both. `step` rounds latents.

    At the precision that the model plays with, and without the peak policy, which could change levels.
    """
    codec = model.system.codec
    made, codes = [], []
    for clip in clips:
        latents = model.encode(Audio(clip, codec.sample_rate))
        latents = (latents / step).round() * step if step else latents
        codes.append(latents)
        blocks = list(model.stream(latents, clip.shape[-1]))
        made.append(torch.cat(blocks, dim=-1).cpu().mean(0, keepdim=True))
    duration = seconds(clips, codec.sample_rate)
    numbers = sum(code.numel() for code in codes) / duration
    if isinstance(codec.space, Discrete):
        return made, numbers, numbers * math.log2(codec.space.size) / 1000
    return made, numbers, (entropy(codes) if step else 16 * sum(c.numel() for c in codes)) / 1000 / duration


def note_agreement(clips: list[Tensor], made: list[Tensor], sample_rate: int, transcriber: Embedding) -> float:
    """Mean note F1 of what a transcriber hears in the reconstructions, against what it hears in the originals."""
    pairs = zip(made, clips)
    return mean(note_f1(*(transcriber.heard(Audio(clip, sample_rate)) for clip in pair)) for pair in pairs)


def entropy(codes: list[Tensor]) -> float:
    """Bits for all rounded latents `[1 d ... n]`, coded by each channel's own frequencies."""
    joined = torch.cat([code[0].flatten(1) for code in codes], dim=1)
    bits = 0.0
    for channel in joined:
        counts = channel.unique(return_counts=True)[1].double()
        bits -= (counts * (counts / counts.sum()).log2()).sum().item()
    return bits


def seconds(clips: list[Tensor], sample_rate: int) -> float:
    return sum(clip.shape[-1] for clip in clips) / sample_rate


if __name__ == "__main__":
    run(main)
