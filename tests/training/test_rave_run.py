"""RAVE through the training loop: a corpus of short clips, both stages by themselves, and what is kept of them."""

import dataclasses

import torch
from safetensors.torch import load_file

from orchestrion.codecs.rave import RaveConfig, RaveV2Config
from orchestrion.corpus.corpus import Corpus
from orchestrion.objectives.rave import RaveCriticsConfig
from orchestrion.playing import Model
from orchestrion.systems.rave import rave
from orchestrion.training.options import TrainOptions
from orchestrion.training.run import Run
from plucks import pluck_corpus

CRITICS = RaveCriticsConfig(width=4, layers=2, scales=1, periods=(2,), every=2)


def small(steps):
    """Rave's nano, narrower, for 8 kHz."""
    recipe = rave("nano")
    net = RaveV2Config(capacity=4, ratios=(4, 4), dilations=((1,), (1,)))
    system = dataclasses.replace(recipe.system, codec=RaveConfig(sample_rate=8000, latents=6, net=net))
    objective = dataclasses.replace(recipe.stages[0].objective, windows=(256,))
    first, second = (dataclasses.replace(stage, steps=steps, crop=1.0, objective=objective) for stage in recipe.stages)
    second = dataclasses.replace(second, objective=dataclasses.replace(objective, critics=CRITICS))
    return dataclasses.replace(recipe, system=system, stages=(first, second))


def test_clips_shorter_than_a_crop_train_and_the_second_stage_follows(tmp_path, quiet):
    folder = pluck_corpus(tmp_path / "short", sample_rate=8000, seconds=0.7)
    corpus = Corpus.open(folder)
    assert all(piece.seconds < 1.0 for piece in corpus.pieces)  # the reference drops such
    options = TrainOptions(precision="fp32", device="cpu")
    alone = dataclasses.replace(options, stage="representation")
    run = tmp_path / "run"
    Run(small(3), corpus, run, alone, quiet).train()
    one = load_file(run / "model" / "model.safetensors")
    Run(small(3), corpus, run, options, quiet).train()
    two = load_file(run / "model" / "model.safetensors")
    assert quiet.said[:2] == ["representation from 0", "adversarial from 0"] and quiet.steps == [1, 2, 3, 1, 2, 3]
    assert "adversarial" in quiet.figures[-1] and "adversarial" not in quiet.figures[0]
    changed = {name for name in one if not torch.equal(one[name], two[name])}
    assert changed and all(name.startswith("codec.decoder.") for name in changed)
    model = Model.load(run / "model")
    fidelity = model.system.codec.principal.fidelity
    assert model.system.codec.principal.fitted and torch.all(fidelity.diff() >= -1e-6)
