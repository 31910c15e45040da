"""A picture of eight clips, seeds 0 to 7, under eight real ones: python recipes/eight.py MODEL CORPUS OUT.

A model that takes words is given the real ones' captions.
"""

import argparse
import tempfile
import textwrap
from pathlib import Path

from PIL import Image

from orchestrion.audio import Audio
from orchestrion.audio.plots import plot_spectrograms
from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.datasets import worded
from orchestrion.evaluation.clips import held_out
from orchestrion.playing.model import Model

SECONDS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("model", help="model folder or bundled name")
    parser.add_argument("corpus", help="real ones: held-out pieces of this prepared corpus, its piano alone")
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()

    model, corpus = Model.load(given.model), Corpus.open(given.corpus)
    told = model.system.conditioner is not None and "text" in model.system.conditioner.hears
    pieces = held_out(corpus, 8, SECONDS, lambda piece: told or piece.attributes.get("program", 0) == 0)
    real = [Audio(piece.audio, corpus.sample_rate) for piece in pieces]
    captions = [worded(clip.piece, "eight", clip.start, SECONDS).text if told else None for clip in pieces]
    made = [model.generate(words, SECONDS, seed) for seed, words in enumerate(captions)]
    below = [textwrap.fill(words or "", 50) for words in captions]
    titles = [f"real, {clip.source}\n{words}".strip() for clip, words in zip(pieces, below)]
    titles += [f"{model.name}, seed {seed}\n{words}".strip() for seed, words in enumerate(below)]
    with tempfile.TemporaryDirectory() as folder:
        picture = plot_spectrograms([*real, *made], Path(folder, "eight.png"), titles, columns=4)
        image = Image.open(picture).convert("RGB")
        image.thumbnail((2400, 2400))
        image.save(given.picture, quality=60)


if __name__ == "__main__":
    main()
