"""Puts a trained model among the bundled ones, in half precision: python recipes/bundle.py RUN NAME [options].

A generator over a bundled codec stores that codec's name and hash instead of a copy; over another one with the same
encoder it stays what it is, and sounds by that one's decoder. `--scores` is a JSON file of figures for the card;
`--notes` a Markdown file for its end. What isn't given stays as the model says of itself.
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
from orchestrion.systems.system import System


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a model folder, such as RUN/model")
    parser.add_argument("name")
    parser.add_argument("--to", type=Path, default=BUNDLED, help="where bundled models lie; by default in the package")
    parser.add_argument("--codec", help="the bundled codec that it shares")
    parser.add_argument("--summary")
    parser.add_argument("--data", help="what it was trained on, and under which licence")
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--training", type=Path, help="JSON, merged into the card's training table")
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--defaults", type=json.loads, default={},
                        help="JSON: the generator's default options, beside those that its training gave it")
    given = parser.parse_args()

    loaded = load_model(given.model)
    system = loaded.system
    shared = None
    if given.codec:
        codec, shared = load_codec(given.to / given.codec)  # as rounded when it was bundled
        check_same_latents(system, codec)
        system.codec = codec.codec
        system.config = replace(system.config, codec=codec.config.codec)
    run = run_of(str(given.model))
    minutes = training_minutes(run) if run else None
    training = dict(loaded.about.training) | ({"minutes": round(minutes, 1)} if minutes is not None else {})
    training |= json.loads(given.training.read_text()) if given.training else {}
    told = loaded.about
    about = replace(told, name=given.name, summary=given.summary or told.summary, licence=given.licence,
                    data=given.data or told.data, training=training, defaults=told.defaults | given.defaults,
                    scores=json.loads(given.scores.read_text()) if given.scores else told.scores,
                    notes=given.notes.read_text() if given.notes else told.notes)
    folder = save_model(system, given.to / given.name, about, shared, dtype=torch.float16)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 2**20:.1f} MiB")


def check_same_latents(ours: System, codec: System) -> None:
    """Stops where the codec that is to be shared has other latents than the one that the generator was trained over."""
    mine, shared = (system.codec.state_dict() for system in (ours, codec))
    for name, value in mine.items():
        if not name.startswith("decoder.") and not torch.equal(value.half(), shared[name].half()):
            raise SystemExit(f"{codec.config.codec} has another {name} than the model's own codec: other latents")


if __name__ == "__main__":
    main()
