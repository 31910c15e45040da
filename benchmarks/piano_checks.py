"""Does it play the piano? Music checks over unselected generated clips, against real held-out ones.

    python benchmarks/piano_checks.py MODEL --data CORPUS [--picture checks.png]

32 clips of 10 s, seeds 0 to 31, none left out; 32 real ones by the fixed rule of
`orchestrion.evaluation.clips.held_out`, the real ones through the model's codec, and white noise. The
bars of `orchestrion.evaluation.music.PIANO_BARS` are judged on medians; exit code 1 where one fails.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from common import machine, run, table

from orchestrion.audio import Audio
from orchestrion.audio.plots import plot_spectrograms
from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError
from orchestrion.evaluation.clips import held_out
from orchestrion.evaluation.music import PIANO_BARS, medians, music_checks
from orchestrion.playing.model import Model

SECONDS = 10.0
SHOWN = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--data", required=True, help="a prepared corpus")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--picture", type=Path, default=Path("piano_checks.png"))
    parser.add_argument("--json", type=Path, help="also write every clip's figures here")
    args = parser.parse_args()

    model, corpus = Model.load(args.model), Corpus.open(args.data)
    if model.sample_rate != corpus.sample_rate:
        raise UserError(f"{args.model} works at {model.sample_rate} Hz, the corpus is at "
                        f"{corpus.sample_rate} Hz: prepare the corpus again at the model's rate")
    pieces = held_out(corpus, args.clips, SECONDS, lambda piece: piece.attributes.get("program", 0) == 0)
    real = [Audio(piece.audio, corpus.sample_rate) for piece in pieces]
    made = [model.generate(duration=SECONDS, seed=seed) for seed in range(args.clips)]
    checks = {"real": measure(real), args.model: measure(made),
              "codec": measure([model.reconstruct(clip) for clip in real[:SHOWN]]),
              "noise": measure([white_noise(seed, model.sample_rate) for seed in range(SHOWN)])}

    shown = [clip for two in zip(made[:SHOWN], real[:SHOWN]) for clip in two]
    titles = [title for i in range(SHOWN) for title in (f"made, seed {i}", f"real, {pieces[i].source}")]
    plot_spectrograms(shown, args.picture, titles[: len(shown)], columns=4)
    if args.json:
        args.json.write_text(json.dumps(checks, indent=1))

    middles = {name: medians(clips) for name, clips in checks.items()}
    print(f"medians over {args.clips} clips of {SECONDS:g} s ({SHOWN} for codec and noise); {machine()}\n")
    names = list(middles["real"])
    print(table(["", *names], [[who, *figures.values()] for who, figures in middles.items()]))
    print()
    failed = 0
    for bar in PIANO_BARS:
        ours, theirs = middles[args.model][bar.name], middles["real"][bar.name]
        holds = bar.holds(theirs, ours)
        failed += not holds
        print(f"{'PASS' if holds else 'FAIL'}  {bar.name}: {ours / theirs:.2f} times the real one "
              f"(bar: {bar.lowest:g} to {bar.highest:g})")
    print(f"\npicture: {args.picture}")
    return 1 if failed else 0


def measure(clips: Sequence[Audio]) -> list[dict[str, float]]:
    return [music_checks(clip.samples, clip.sample_rate) for clip in clips]


def white_noise(seed: int, sample_rate: int) -> Audio:
    generator = torch.Generator().manual_seed(seed)
    return Audio(0.1 * torch.randn(1, round(SECONDS * sample_rate), generator=generator), sample_rate)


if __name__ == "__main__":
    run(main)
