"""RAVE as the autoencoder of other generators: its rank is settled, and the same weights fit."""

import dataclasses

import pytest
import torch

from orchestrion.codecs.rave import RaveConfig, RaveV2Config
from orchestrion.contracts import Conditioning
from orchestrion.systems.flow import flow
from orchestrion.systems.folder import About, load_model, save_model
from orchestrion.systems.gan import gan
from orchestrion.systems.rave import CODECS, rave
from orchestrion.systems.system import SystemConfig
from orchestrion.training.start import Start

NET = RaveV2Config(capacity=4, ratios=(4, 4), dilations=((1,), (1,)))


@pytest.mark.parametrize("page", [flow, gan])
def test_a_generator_begins_with_a_trained_rave(tmp_path, page):
    torch.manual_seed(0)
    codec = SystemConfig(codec=RaveConfig(latents=8, net=NET)).build().eval()
    mixing = torch.randn(8, 3)
    codec.codec.principal.fit([torch.einsum("dk,bkn->bdn", mixing, torch.randn(2, 3, 200))])
    save_model(codec, tmp_path / "mine", About(name="mine"))
    start = Start.open(str(tmp_path / "mine"))
    recipe = start.adopt(page("nano"))
    assert all(stage.trains == "generator" for stage in recipe.stages)
    system = recipe.system.build().eval()
    start.give(system)
    rank = system.codec.space.channels
    assert rank <= 3  # three directions carry everything
    with torch.no_grad():
        latents = system.generator.sample(2 * system.generator.multiple_of, Conditioning(), [1])
        assert latents.shape[1] == rank and system.codec.decode(latents).isfinite().all()
    save_model(system, tmp_path / "both", About(name="both"), start.codec)
    again = load_model(tmp_path / "both").system
    assert torch.equal(again.codec.principal.components, codec.codec.principal.components)


def test_the_second_stage_follows_the_first_by_itself():
    for size in CODECS:
        first, second = rave(size).stages
        assert first.fit and first.objective.critics is None and second.objective.critics is not None
        # the first stage's losses go on, of less weight beside the critics in minutes (docs/rave.md)
        weight = 0.25 if size == "tiny" else first.objective.spectral
        assert dataclasses.replace(second.objective, critics=None) == dataclasses.replace(first.objective,
                                                                                           spectral=weight)
