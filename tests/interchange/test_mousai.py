import importlib.util
from pathlib import Path

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.interchange.mousai import beneath, fill
from orchestrion.nn.unet1d import UNet1d

FIXTURE = Path(__file__).parents[1] / "fixtures" / "mousai"


def load(name):
    spec = importlib.util.spec_from_file_location(f"mousai_{name}", FIXTURE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def compare():
    return load("compare")


@pytest.fixture(scope="module")
def kept(compare):
    return compare.read(FIXTURE / "adp.npz")


def test_random_weights_of_audio_diffusion_pytorch_give_its_output(compare, kept):
    found = compare.differences(kept)
    assert len(found) == 13 and max(found.values()) < 1e-4, found


def test_weights_of_another_shape_are_refused(compare, kept):
    weights = beneath(kept, "waveform/weights/net.")
    with pytest.raises(UserError, match="has the shape"):
        fill(UNet1d(compare.ATTENTIVE, 3, 3), weights, "old.ckpt")
    with pytest.raises(UserError, match="another configuration"):
        fill(UNet1d(compare.SMALL, 2, 2), weights)
    name = next(iter(weights))
    with pytest.raises(UserError, match="aren't numbers"):
        fill(UNet1d(compare.ATTENTIVE, 2, 2), weights | {name: torch.full_like(weights[name], torch.nan)})
