"""Does a text model play what words ask for? Pairs of opposite prompts, and a timbre judge trained on real renders.

    python benchmarks/adherence.py MODEL --data CORPUS [--pairs 150] [--seconds 10] [--only density timbre]
                                   [--steps N] [--cfg-scale X] [--cfg-from X] [--cfg-until X]

For each of density, tempo, register and loudness `--pairs` pairs of clips, a pair from one seed, its prompts alike but
for one wording; the share in which the right clip has more, with Wilson's interval. For the timbre `--pairs` clips in
all, the corpus's instruments in turn. The judges of tempo and timbre learn from real renders of training pieces; the
same clips' tempo is also told by the beat that a fixed rule would tap ("tempo, tapped"). Beside each stands what real
renders reach: of two real crops of one instrument, whose captions may say the one thing and the other, in how many the
measure tells which is which (held-out ones for the judge); and how many held-out real crops the timbre judge names
rightly. Levels are taken before anything is normalised. Exit code 1 where a share is below 80 %, but for the tapped
tempo's.
"""

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from common import count, duration, machine, run, table

from orchestrion.corpus.captions import instrument
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.corpus.datasets import worded
from orchestrion.errors import UserError
from orchestrion.evaluation.obedience import CONTRASTS, Contrast, TimbreJudge, interval, obeyed, pairs, told_apart
from orchestrion.evaluation.tempo_judge import TempoJudge
from orchestrion.playing.model import Model
from orchestrion.storage import check_writable

BAR = 0.8
TOGETHER = 4  # pairs that are sampled at once
TIMBRE, TEMPO, TAPPED = "timbre", "tempo", "tempo, tapped"
SILENT = -50.0  # dBFS
Row = tuple[str, int, int, int, int]
"""Name, met, of how many; among real renders met, of how many."""


def main() -> int:
    names = [contrast.name for contrast in CONTRASTS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="a model that takes prompts")
    parser.add_argument("--data", required=True, help="the corpus that it was trained on, for real renders")
    parser.add_argument("--pairs", type=count, default=150)
    parser.add_argument("--seconds", type=duration, default=10.0)
    parser.add_argument("--only", nargs="+", choices=[*names, TIMBRE], default=[*names, TIMBRE])
    parser.add_argument("--steps", type=count)
    for name in ("scale", "from", "until"):
        parser.add_argument(f"--cfg-{name}", type=float)
    parser.add_argument("--real", type=count, default=24, help="real pieces of each instrument, two crops of each")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()

    model, corpus = Model.load(args.model), Corpus.open(args.data)
    if model.system.conditioner is None or "text" not in model.system.conditioner.hears:
        raise UserError(f"{model.name} takes no words, so there is nothing to obey")
    if args.json:
        check_writable(args.json)
    options = {name: getattr(args, name) for name in ("steps", "cfg_scale", "cfg_from", "cfg_until")}
    model.options(options)  # what can be refused is, before the real renders are heard
    players = sorted({named(piece) for piece in corpus.pieces if "program" in piece.attributes})
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        print("{}: {} of {}; real renders {} of {}".format(*row), flush=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))

    contrasts = [contrast for contrast in CONTRASTS if contrast.name in args.only]
    real = told_apart_by(contrasts, corpus, corpus.pieces, args.real, args.seconds)
    for contrast in contrasts:
        ways = [contrast]
        if contrast.name == TEMPO:
            judged = replace(contrast, heard=tempo_judge(corpus, args.real, args.seconds))
            ways = [judged, replace(contrast, name=TAPPED)]
            real[TAPPED] = real[TEMPO]
            real |= told_apart_by([judged], corpus, held_out(corpus), args.real, args.seconds)
        for way, met in zip(ways, asked(model, ways, players, args.pairs, args.seconds, options)):
            tell((way.name, met, args.pairs, *real[way.name]))
    if TIMBRE in args.only and len(players) > 1:
        tell((TIMBRE, *timbres(model, corpus, players, args.pairs, args.seconds, options)))
    print(f"\n{model.name}, {args.seconds:g} s clips; {machine()}\n")
    print(table(["", "share", "95 % interval", "of", "real renders", "of"],
                [[name, met / count, "{:.2f} to {:.2f}".format(*interval(met, count)), count,
                  true / among if among else "", among] for name, met, count, true, among in rows]))
    return int(any(met / count < BAR for name, met, count, _, _ in rows if name != TAPPED))


def asked(model: Model, ways: Sequence[Contrast], players: list[str], count: int, seconds: float,
          options: dict[str, float | None]) -> list[int]:
    """ways: one contrast, heard in one way or several. Of `count` pairs, in how many the clip that was asked for more
    has more, by each way."""
    made = pairs(ways[0], players or ["music"], count)
    met = [0] * len(ways)
    for start in range(0, len(made), TOGETHER):
        some = made[start : start + TOGETHER]
        clips = model.generate_batch([words for pair in some for words in (pair.more, pair.less)], seconds,
                                     [pair.seed for pair in some for _ in range(2)], options)
        for more, less in zip(clips[::2], clips[1::2]):
            met = [so_far + obeyed(way, more.samples, less.samples, model.sample_rate)
                   for so_far, way in zip(met, ways)]
    return met


def tempo_judge(corpus: Corpus, most: int, seconds: float) -> TempoJudge:
    """Taught on training pieces."""
    judge, features, tempos = TempoJudge(), [], []
    for piece, start in crops(corpus, corpus.split("train"), most, seconds, (0.2, 0.5, 0.8)):
        tempo = worded(piece, "real", start, seconds).attributes.get("tempo")
        clip = read(corpus, piece, start, seconds)
        found = judge.features(clip, corpus.sample_rate) if tempo and heard_in(clip) else None
        if tempo and found is not None:
            features.append(found)
            tempos.append(tempo)
    return judge.learn(features, tempos)


def told_apart_by(contrasts: list[Contrast], corpus: Corpus, pieces: Sequence[Piece], most: int,
                  seconds: float) -> dict[str, tuple[int, int]]:
    """By contrast: of pairs of real crops that differ so, in how many the measure says which is which."""
    heard: dict[str, list[tuple[str, int, float]]] = {contrast.name: [] for contrast in contrasts}
    for piece, start in crops(corpus, pieces if contrasts else [], most, seconds, (0.33, 0.67)):
        attributes = worded(piece, "real", start, seconds).attributes
        sides = {contrast: side for contrast in contrasts if (side := contrast.side(attributes))}
        clip = read(corpus, piece, start, seconds) if sides else None
        for contrast, side in sides.items():
            assert clip is not None
            if heard_in(clip):
                heard[contrast.name].append((named(piece), side, contrast.heard(clip, corpus.sample_rate)))
    return {name: told_apart(found) for name, found in heard.items()}


def timbres(model: Model, corpus: Corpus, names: list[str], count: int, seconds: float,
            options: dict[str, float | None]) -> tuple[int, int, int, int]:
    """The judge, taught on training pieces, on what the model plays and on real held-out crops."""
    judge = TimbreJudge()

    def judged(pieces: Iterable[Piece]) -> list[tuple]:
        clips = ((read(corpus, piece, start, seconds), named(piece))
                 for piece, start in crops(corpus, pieces, 24, seconds, (0.25, 0.5, 0.75)))
        return [(judge.features(clip, corpus.sample_rate), name) for clip, name in clips if heard_in(clip)]

    taught = judged(corpus.split("train"))
    judge.learn([features for features, _ in taught], [name for _, name in taught])
    held = [(features, name) for features, name in judged(held_out(corpus)) if name in judge.names]
    met = 0
    for start in range(0, count, 2 * TOGETHER):
        turn = range(start, min(start + 2 * TOGETHER, count))
        clips = model.generate_batch([names[i % len(names)] for i in turn], seconds, list(turn), options)
        met += sum(judge.name(judge.features(clip.samples, clip.sample_rate)) == names[i % len(names)]
                   for i, clip in zip(turn, clips))
    return met, count, sum(judge.name(features) == name for features, name in held), len(held)


def held_out(corpus: Corpus) -> list[Piece]:
    return corpus.split("test") + corpus.split("validation")


def heard_in(clip: torch.Tensor) -> bool:
    """Whether anything plays: a thin track rests for whole crops."""
    return 20 * math.log10(float(clip.square().mean().sqrt()) + 1e-9) > SILENT


def crops(corpus: Corpus, pieces: Iterable[Piece], most: int, seconds: float,
          shares: tuple[float, ...]) -> Iterator[tuple[Piece, float]]:
    """(piece, start in seconds) around these shares of at most `most` pieces an instrument."""
    taken: dict[str, int] = {}
    for piece in pieces:
        if "program" not in piece.attributes or taken.setdefault(named(piece), 0) >= most:
            continue
        taken[named(piece)] += 1
        for share in shares:
            yield piece, max(piece.seconds * share - seconds / 2, 0.0)


def read(corpus: Corpus, piece: Piece, start: float, seconds: float) -> torch.Tensor:
    return torch.from_numpy(corpus.read(piece, round(start * corpus.sample_rate), round(seconds * corpus.sample_rate)))


def named(piece: Piece) -> str:
    return instrument(int(piece.attributes["program"]))


if __name__ == "__main__":
    run(main)
