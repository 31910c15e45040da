"""Does it play the piano? Music checks over unselected generated clips, against real held-out ones.

    python benchmarks/piano_checks.py MODEL --data CORPUS [-o report/]

`orchestrion compare` over 32 clips of 10 s from the corpus's piano alone, seeds 0 to 31, none left out; then
the bars of `orchestrion.evaluation.music.PIANO_BARS`, on medians. Exit code 1 where one fails.
"""

import argparse
import dataclasses
from pathlib import Path

from common import machine, run

from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError
from orchestrion.evaluation.comparing import CompareOptions, compare
from orchestrion.evaluation.markdown import markdown
from orchestrion.evaluation.music import PIANO_BARS
from orchestrion.evaluation.report import write_report
from orchestrion.evaluation.scoreboard import Kind
from orchestrion.playing.model import Model


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--data", required=True, help="a prepared corpus")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("-o", "--output", type=Path, default=Path("piano-checks"), help="the report's folder")
    args = parser.parse_args()

    corpus = Corpus.open(args.data)
    piano = tuple(piece for piece in corpus.pieces if piece.attributes.get("program", 0) == 0)
    if not piano:
        raise UserError(f"{args.data} has no piano: prepare one with --program 0")
    options = CompareOptions(clips=args.clips, seconds=10.0, shown=8, cost=False, training_hours=0)
    board = compare([args.model], dataclasses.replace(corpus, pieces=piano), args.output, Model.load, options)
    print(f"{markdown(board)}\n{machine()}\n")
    failed = 0
    for model in board.of_kind(Kind.MODEL):
        for bar in PIANO_BARS:
            ours, theirs = model.figure(bar.name), board.real_figure(bar.name)
            assert ours and theirs
            holds = bar.holds(theirs.value, ours.value)
            failed += not holds
            print(f"{'PASS' if holds else 'FAIL'}  {bar.name}: {ours.value / theirs.value:.2f} times the real one "
                  f"(bar: {bar.lowest:g} to {bar.highest:g})")
    print(f"\n{write_report(board, args.output)[0]}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
