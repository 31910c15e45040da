"""Does it play the piano? Unselected generated clips against real held-out ones, and the bars of the bundled piano.

    python benchmarks/piano_checks.py MODEL --data CORPUS [-o report/]                         # how it plays
    python benchmarks/piano_checks.py MODEL --data CORPUS --clips 1000 --seconds 5 [-o report/]    # how near it is
    ... [--option cfg_scale=5 --option cfg_until=0.2]                       # sampling options by the generator's names

`orchestrion compare` over clips of the corpus's piano alone, seeds from 0 on, none left out. Playing: the bars of
`orchestrion.evaluation.music.PIANO_BARS` on medians, and bars no more like the one before than in the real clips'
95th percentile. Nearness: under each embedding the Fréchet distance at most 8 times that of the real clips through the
model's codec and at most a tenth of the untrained generator's (of few clips these only rank), diversity at least 0.8
of real; not surely nearer to the training music than held-out clips are. Exit code 1 where one fails.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import machine, run

from orchestrion.audio import Audio
from orchestrion.cli.shared import numbers
from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError
from orchestrion.evaluation.bars import bar_similarity
from orchestrion.evaluation.comparing import CompareOptions, compare
from orchestrion.evaluation.markdown import markdown
from orchestrion.evaluation.music import PIANO_BARS
from orchestrion.evaluation.report import write_report
from orchestrion.evaluation.scoreboard import Contender, Kind, Scoreboard
from orchestrion.playing.model import Model

Verdict = tuple[bool, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--data", required=True, help="a prepared corpus")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=NUMBER")
    parser.add_argument("-o", "--output", type=Path, default=Path("piano-checks"), help="the report's folder")
    args = parser.parse_args()

    corpus = Corpus.open(args.data)
    piano = tuple(piece for piece in corpus.pieces if piece.attributes.get("program", 0) == 0)
    if not piano:
        raise UserError(f"{args.data} has no piano: prepare one with --program 0")
    settings = {name: int(value) if value.is_integer() else value
                for name, value in numbers(args.option, "--option").items()}
    options = CompareOptions(clips=args.clips, seconds=args.seconds, shown=8, cost=False, settings=settings)
    board = compare([args.model], dataclasses.replace(corpus, pieces=piano), args.output, Model.load, options)
    print(f"{markdown(board)}\n{machine()}\n")
    failed = 0
    for model in board.of_kind(Kind.MODEL):
        for holds, said in (*playing(board, model, args.output), *nearness(board, model)):
            failed += not holds
            print("PASS" if holds else "FAIL", said, sep="  ")
    print(f"\n{write_report(board, args.output)[0]}")
    return 1 if failed else 0


def playing(board: Scoreboard, model: Contender, folder: Path) -> Iterator[Verdict]:
    for bar in PIANO_BARS:
        ours, theirs = value(model, bar.name), value(board.of_kind(Kind.REAL)[0], bar.name)
        yield bar.holds(theirs, ours), (f"{bar.name}: {ours / theirs:.2f} times the real one "
                                        f"(bar: {bar.lowest:g} to {bar.highest:g})")
    real, made = (np.array([bar_similarity(sound.samples, sound.sample_rate)
                            for sound in map(Audio.read, sorted((folder / "clips" / name).glob("*.flac")))])
                  for name in ("real", model.name))
    most, ours = np.quantile(real, 0.95), np.median(made)
    yield bool(ours <= most), f"bar similarity: median {ours:.3f} (bar: the real clips' 95th percentile, {most:.3f})"


def nearness(board: Scoreboard, model: Contender) -> Iterator[Verdict]:
    codec, untrained = (next(each for each in board.of_kind(kind) if each.of == model.name)
                        for kind in (Kind.CODEC, Kind.UNTRAINED))
    for name in (figure.metric.removeprefix("FAD ") for figure in model.figures if figure.metric.startswith("FAD ")):
        ours, best, worst = (value(each, f"FAD {name}") for each in (model, codec, untrained))
        yield ours <= 8 * best, f"FAD {name}: {ours / best:.2f} times the codec's (bar: 8)"
        yield ours <= worst / 10, f"FAD {name}: {ours / worst:.3f} of the untrained generator's (bar: 0.1)"
        spread = value(model, f"diversity {name}")
        yield spread >= 0.8, f"diversity {name}: {spread:.2f} of real (bar: 0.8)"
    near, real = (each.figure("nearest training passage") for each in (model, board.of_kind(Kind.REAL)[0]))
    assert near is not None and near.high is not None and real is not None
    yield near.high >= real.value, (f"nearest training passage: {near.value:.3f}, at most {near.high:.3f} "
                                f"(bar: held-out music's, {real.value:.3f})")


def value(contender: Contender, metric: str) -> float:
    found = contender.figure(metric)
    assert found is not None, f"{contender.name} has no {metric}"
    return found.value


if __name__ == "__main__":
    run(main)
