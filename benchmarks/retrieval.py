"""Does a CLAP find sounds by words? Held-out crops with distinct captions, recall at 1, 5 and 10 both ways.

    python benchmarks/retrieval.py MODEL --data CORPUS [--crops 200] [--seconds 10]

Crops of the test and validation pieces, several of each where there are too few, captioned by what is true of the crop
(`corpus.datasets.worded`, the key being the crop's place). No two captions are alike. Beside the recall stands what of
the captions is heard: how many crops are nearest to the right one of the words for an attribute (slow, moderate, fast
…), those said alone; and how many would be if every crop got the most frequent word.
"""

import argparse
import itertools
from collections.abc import Mapping

import torch
from common import count, duration, machine, run, table

from orchestrion.audio import Audio
from orchestrion.corpus.captions import WORDS, instrument, wordings_of
from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.datasets import worded
from orchestrion.errors import UserError
from orchestrion.evaluation.retrieval import distinct, recall
from orchestrion.playing.listening import Listener


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="a model with a CLAP, or laion:WEIGHTS")
    parser.add_argument("--data", required=True, help="a prepared corpus with captions")
    parser.add_argument("--crops", type=count, default=200)
    parser.add_argument("--seconds", type=duration, default=10.0)
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
    sounds, words, known = [], [], []
    for i in chosen:
        piece, start = places[i]
        found = corpus.read(piece, round(start * corpus.sample_rate), round(args.seconds * corpus.sample_rate))
        sounds.append(listener.hear(Audio(torch.from_numpy(found), corpus.sample_rate)))
        words.append(listener.read(texts[i]))
        known.append(worded(piece, "", start, args.seconds).attributes)
    there, back = recall(torch.stack(words), torch.stack(sounds)), recall(torch.stack(sounds), torch.stack(words))
    print(f"{listener.name}, {len(chosen)} crops of {args.seconds:g} s; {machine()}\n")
    print(table(["recall at", *there], [["text to audio", *there.values()], ["audio to text", *back.values()],
                                        ["chance", *(k / len(chosen) for k in there)]]))
    print()
    print(table(["what is heard", "right", "always the same", "crops"], heard(listener, torch.stack(sounds), known)))
    return 0


def heard(listener: Listener, sounds: torch.Tensor, known: list[Mapping[str, float]]) -> list[list[object]]:
    """sounds `[n e]` -> by attribute: share that is nearest to its own word, share of the most frequent, crops."""
    rows: list[list[object]] = []
    for name in ("program", *WORDS):
        said = [word_for(name, attributes) for attributes in known]
        words = sorted({word for word in said if word})
        chosen = [i for i, word in enumerate(said) if word]
        if len(words) < 2:
            continue
        nearest = (sounds[chosen] @ torch.stack([listener.read(word) for word in words]).mT).argmax(1).tolist()
        right = sum(words[place] == said[i] for place, i in zip(nearest, chosen))
        rows.append(["instrument" if name == "program" else name, right / len(chosen),
                     max(said.count(word) for word in words) / len(chosen), len(chosen)])
    return rows


def word_for(name: str, attributes: Mapping[str, float]) -> str:
    if name not in attributes or ("velocity" in attributes and name in ("level", "brightness")):  # as in captions
        return ""
    return instrument(int(attributes[name])) if name == "program" else next(
        iter(wordings_of(name, attributes[name])), "")


if __name__ == "__main__":
    run(main)
