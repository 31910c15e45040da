"""Puts a trained model among the bundled ones, in half precision: python recipes/bundle.py RUN NAME [options].

A generator over a bundled codec stores that codec's name and hash instead of a copy. `--scores` is a JSON file of
figures for the card; `--notes` a Markdown file for its end.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from orchestrion.evaluation.cost import training_minutes
from orchestrion.evaluation.curves import run_of
from orchestrion.systems.folder import load_codec, load_model, save_model
from orchestrion.systems.shelf import BUNDLED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a model folder, such as RUN/model")
    parser.add_argument("name")
    parser.add_argument("--to", type=Path, default=BUNDLED, help="where bundled models lie; by default in the package")
    parser.add_argument("--codec", help="the bundled codec that it shares")
    parser.add_argument("--summary", required=True)
    parser.add_argument("--data", required=True, help="what it was trained on, and under which licence")
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--training", type=Path, help="JSON, merged into the card's training table")
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--defaults", type=json.loads, default={},
                        help="JSON: the generator's default options, beside those that its training gave it")
    given = parser.parse_args()

    loaded = load_model(given.model)
    shared = None
    if given.codec:
        codec, shared = load_codec(given.to / given.codec)
        loaded.system.codec.load_state_dict(codec.codec.state_dict())  # as rounded when it was bundled
    run = run_of(str(given.model))
    minutes = training_minutes(run) if run else None
    training = dict(loaded.about.training) | ({"minutes": round(minutes, 1)} if minutes is not None else {})
    training |= json.loads(given.training.read_text()) if given.training else {}
    about = replace(loaded.about, name=given.name, summary=given.summary, licence=given.licence, data=given.data,
                    training=training, defaults=loaded.about.defaults | given.defaults,
                    scores=json.loads(given.scores.read_text()) if given.scores else {},
                    notes=given.notes.read_text() if given.notes else "")
    folder = save_model(loaded.system, given.to / given.name, about, shared, dtype=torch.float16)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
