"""The way by which the bundled models are made, tried whole with next to no training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from scores import needs_fluidsynth, zipped
from test_sources import pop909

from orchestrion.systems.folder import load_model
from orchestrion.systems.shelf import BUNDLED

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@needs_fluidsynth
def test_the_release_goes_from_the_zip_to_models_that_share_a_codec(tmp_path):
    before = {path: path.stat().st_mtime_ns for path in BUNDLED.rglob("*")}
    songs = zipped(tmp_path / "pop909.zip", pop909())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["sh", "recipes/release.sh", songs, tmp_path / "trial"], cwd=ROOT, capture_output=True,
                          text=True, env=os.environ | {"PATH": path}, timeout=900)
    assert done.returncode == 0, done.stderr
    models = tmp_path / "trial/models"
    flow = load_model(models / "piano-flow")
    assert flow.shared_codec is not None and flow.shared_codec.shared == "spectral-v5"
    assert not any(name.startswith("codec.") for name in load_file(models / "piano-flow/model.safetensors"))
    gan = load_model(models / "piano-gan")
    assert gan.about.defaults["steps"] == 2 and gan.shared_codec.sha256 == flow.shared_codec.sha256
    assert load_model(models / "spectral-v5").about.training["minutes"] >= 0
    assert before == {path: path.stat().st_mtime_ns for path in BUNDLED.rglob("*")}
