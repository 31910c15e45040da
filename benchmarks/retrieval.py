"""Does a CLAP find sounds by words? Held-out crops with distinct captions, recall at 1, 5 and 10 both ways.

    python benchmarks/retrieval.py MODEL --data CORPUS [--crops 200] [--seconds 10]

Crops of the test and validation pieces, several of each where there are too few, captioned by what is true of the crop
(`corpus.datasets.worded`, the key being the crop's place). No two captions are alike.
"""

import argparse
import itertools

import torch
from common import machine, run, table

from orchestrion.audio import Audio
from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.datasets import worded
from orchestrion.errors import UserError
from orchestrion.evaluation.retrieval import distinct, recall
from orchestrion.playing.listening import Listener


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="a model with a CLAP, or laion:WEIGHTS")
    parser.add_argument("--data", required=True, help="a prepared corpus with captions")
    parser.add_argument("--crops", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()

    listener, corpus = Listener.load(args.model), Corpus.open(args.data)
    pieces = [piece for piece in corpus.split("test") + corpus.split("validation") if piece.seconds >= args.seconds]
    if not pieces:
        raise UserError(f"{corpus.folder} has no held-out piece of {args.seconds:g} s")
    places = [(piece, turn * args.seconds) for turn, piece in itertools.product(range(100), pieces)
              if (turn + 1) * args.seconds <= piece.seconds]
    texts = [worded(piece, f"retrieval/{start:g}", start, args.seconds).text or "" for piece, start in places]
    chosen = [i for i in distinct(texts) if texts[i]][: args.crops]
    if len(chosen) < args.crops:
        raise UserError(f"only {len(chosen)} held-out crops have captions of their own, {args.crops} are needed")
    sounds, words = [], []
    for i in chosen:
        piece, start = places[i]
        found = corpus.read(piece, round(start * corpus.sample_rate), round(args.seconds * corpus.sample_rate))
        sounds.append(listener.hear(Audio(torch.from_numpy(found), corpus.sample_rate)))
        words.append(listener.read(texts[i]))
    there, back = recall(torch.stack(words), torch.stack(sounds)), recall(torch.stack(sounds), torch.stack(words))
    print(f"{listener.name}, {len(chosen)} crops of {args.seconds:g} s; {machine()}\n")
    print(table(["recall at", *there], [["text to audio", *there.values()], ["audio to text", *back.values()],
                                        ["chance", *(k / len(chosen) for k in there)]]))
    return 0


if __name__ == "__main__":
    run(main)
