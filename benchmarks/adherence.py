"""Does a text model play what words ask for? Pairs of opposite prompts, and a timbre judge trained on real renders.

    python benchmarks/adherence.py MODEL --data CORPUS [--pairs 150] [--seconds 10] [--steps N] [--cfg-scale X]

For each of density, tempo, register and loudness `--pairs` pairs of clips, a pair from one seed, its prompts alike but
for one wording; the share in which the right clip has more, with Wilson's interval. For the timbre `--pairs` clips in
all, the corpus's instruments in turn; the judge's own share on held-out real crops stands beside it. Levels are taken
before anything is normalised. Exit code 1 where a share is below 80 %.
"""

import argparse
import json
from pathlib import Path

from common import machine, run, table

from orchestrion.contracts import Progress
from orchestrion.corpus.captions import instrument
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.errors import UserError
from orchestrion.evaluation.obedience import CONTRASTS, TimbreJudge, interval, obeyed, pairs
from orchestrion.playing.model import Model

BAR = 0.8


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="a model that takes prompts")
    parser.add_argument("--data", required=True, help="the corpus that it was trained on, for real renders")
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--cfg-scale", type=float)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()

    model, corpus = Model.load(args.model), Corpus.open(args.data)
    if model.system.conditioner is None:
        raise UserError(f"{model.name} takes no prompt, so there is nothing to obey")
    options = {"steps": args.steps, "cfg_scale": args.cfg_scale}
    names = sorted({named(piece) for piece in corpus.pieces if "program" in piece.attributes})
    rows: list[tuple[str, int, int]] = []
    for contrast in CONTRASTS:
        asked = pairs(contrast, names or ["music"], args.pairs)
        met = 0
        for pair in asked:
            more, less = model.generate_batch([pair.more, pair.less], args.seconds, [pair.seed] * 2, options)
            met += obeyed(contrast, more.samples, less.samples, model.sample_rate)
        rows.append((contrast.name, met, len(asked)))
        print(f"{contrast.name}: {met} of {len(asked)}", flush=True)
    if len(names) > 1:
        rows += timbres(model, corpus, names, args.pairs, args.seconds, options)

    print(f"\n{model.name}, {args.seconds:g} s clips; {machine()}\n")
    print(table(["", "share", "95 % interval", "of"],
                [[name, met / count, "{:.2f} to {:.2f}".format(*interval(met, count)), count]
                 for name, met, count in rows]))
    if args.json:
        args.json.write_text(json.dumps({name: {"met": met, "of": count} for name, met, count in rows}, indent=1))
    return int(any(met / count < BAR for name, met, count in rows))


def timbres(model: Model, corpus: Corpus, names: list[str], count: int, seconds: float,
            options: dict[str, float | None]) -> list[tuple[str, int, int]]:
    """The judge on real held-out crops, and on what the model plays."""
    judge = TimbreJudge()
    crops = {split: real_crops(judge, corpus, split, seconds) for split in ("train", "held out")}
    judge.learn([features for features, _ in crops["train"]], [name for _, name in crops["train"]])
    held = [(features, name) for features, name in crops["held out"] if name in judge.names]
    rows = [("timbre of real crops", sum(judge.name(features) == name for features, name in held), len(held))]
    met = 0
    for i in range(count):
        clip = model.generate(names[i % len(names)], seconds, i, options)
        met += judge.name(judge.features(clip.samples, clip.sample_rate)) == names[i % len(names)]
    return [row for row in rows if row[2]] + [("timbre", met, count)]


def real_crops(judge: TimbreJudge, corpus: Corpus, split: str, seconds: float, most: int = 20,
               progress: Progress | None = None) -> list[tuple]:
    """(features, instrument) of the quarters of at most `most` pieces an instrument."""
    pieces = corpus.split("train") if split == "train" else corpus.split("test") + corpus.split("validation")
    taken: dict[str, int] = {}
    found = []
    for piece in pieces:
        name = named(piece) if "program" in piece.attributes else None
        if name is None or taken.setdefault(name, 0) >= most:
            continue
        taken[name] += 1
        count = round(seconds * corpus.sample_rate)
        for share in (0.25, 0.5, 0.75):
            start = round(max(piece.seconds * share - seconds / 2, 0) * corpus.sample_rate)
            found.append((judge.features(read(corpus, piece, start, count), corpus.sample_rate), name))
    return found


def read(corpus: Corpus, piece: Piece, start: int, count: int):
    import torch

    return torch.from_numpy(corpus.read(piece, start, count))


def named(piece: Piece) -> str:
    return instrument(int(piece.attributes["program"]))


if __name__ == "__main__":
    run(main)
