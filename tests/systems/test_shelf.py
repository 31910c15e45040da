"""Models from the Hub, served by this machine; in a process of their own, since the Hub's address is read at
import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub import serving

from orchestrion.errors import UserError
from orchestrion.systems.folder import About, load_codec, save_model
from orchestrion.systems.shelf import find_model
from orchestrion.systems.system import SystemConfig
from toys import ToyCodecConfig, toy_model_folder, toy_system

TESTS = Path(__file__).parents[1]


def load_from_hub(endpoint, cache, name):
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import toys\n"
            "from orchestrion import load\nfrom orchestrion.errors import UserError\n"
            "try: print('loaded', load(sys.argv[2], device='cpu').sha256)\n"
            "except UserError as error: print(error)")
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0",
                                "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*", "no_proxy": "*"}
    done = subprocess.run([sys.executable, "-c", code, str(TESTS), name], env=environment, text=True,
                          capture_output=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def published(tmp_path):
    """A codec, a generator that shares it, and a model that carries its own: as on the Hub."""
    toy_model_folder(tmp_path / "toy")
    save_model(SystemConfig(codec=ToyCodecConfig()).build(), tmp_path / "toy-codec", About(name="toy-codec"))
    _, reference = load_codec(tmp_path / "toy-codec")
    (tmp_path / "elsewhere").mkdir()
    save_model(toy_system(), tmp_path / "elsewhere" / "sharing", About(name="sharing"), codec=reference)
    return {"me/toy": tmp_path / "toy", "me/toy-codec": tmp_path / "toy-codec",
            "me/sharing": tmp_path / "elsewhere" / "sharing", "me/other": TESTS / "systems"}


def test_a_run_folder_names_its_model(tmp_path):
    toy_model_folder(tmp_path / "run" / "model")
    with pytest.raises(UserError, match=r"its model is .*run/model: give that"):
        find_model(tmp_path / "run")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.json").write_text("{}")
    with pytest.raises(UserError, match="has no model yet"):
        find_model(tmp_path / "begun")


def test_a_model_is_downloaded_once_and_then_found_without_network(published, tmp_path):
    with serving(published) as endpoint:
        first = load_from_hub(endpoint, tmp_path / "cache", "hf:me/toy")
        assert first.startswith("loaded ")
        assert load_from_hub(endpoint, tmp_path / "cache", "hf:me/tony").startswith("the Hub has no model 'me/tony'")
        assert "is not an Orchestrion model" in load_from_hub(endpoint, tmp_path / "cache", "hf:me/other")
        assert "names no Hub model" in load_from_hub(endpoint, tmp_path / "cache", "hf:a/b/c")
    assert load_from_hub(endpoint, tmp_path / "cache", "hf:me/toy") == first
    assert "can't be reached" in load_from_hub(endpoint, tmp_path / "empty", "hf:me/toy")


def test_a_shared_codec_is_found_in_the_hubs_cache(published, tmp_path):
    with serving(published) as endpoint:
        missing = load_from_hub(endpoint, tmp_path / "cache", "hf:me/sharing")
        assert "needs the codec 'toy-codec'" in missing
        assert load_from_hub(endpoint, tmp_path / "cache", "hf:me/toy-codec").startswith("loaded ")
        assert load_from_hub(endpoint, tmp_path / "cache", "hf:me/sharing").startswith("loaded ")
