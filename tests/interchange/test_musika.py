"""The authors' files, written by their own code with random weights, answer here as they do there."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import orchestrion.codecs.musika as codec_module
from orchestrion.errors import UserError

h5py = pytest.importorskip("h5py")
from orchestrion.interchange.musika import import_musika  # noqa: E402

FIXTURE = Path(__file__).parent.parent / "fixtures" / "musika"
spec = importlib.util.spec_from_file_location("compare", FIXTURE / "compare.py")
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)


@pytest.fixture
def files(tmp_path):
    zipfile.ZipFile(FIXTURE / "keras.zip").extractall(tmp_path)
    return tmp_path


def test_every_network_answers_as_the_authors_code(files, monkeypatch):
    monkeypatch.setattr(codec_module, "BlockNoise", lambda blocks: lambda steps: torch.ones(len(blocks), steps))
    imported = import_musika(files)
    figures = compare.differences(imported, files)
    assert set(figures) == {"latents", "score", "spectrum", "z1", "z", "decoded", "level", "phase", "audio"}
    assert all(value < 1e-4 for value in figures.values()), figures
    assert imported.objective["switch"] == -0.25


def test_the_codec_alone_can_be_imported_and_files_can_lie_apart(files, tmp_path):
    apart = tmp_path / "apart"
    apart.mkdir()
    (files / "gen_ema.h5").rename(apart / "gen.h5")
    assert import_musika(files).system.generator is None
    both = import_musika(files, apart / "gen.h5")
    assert both.system.generator is not None and both.objective is not None


@pytest.mark.parametrize("damage, says", [
    (lambda f: (f / "dec.h5").unlink(), "dec.h5 weren't found"),
    (lambda f: (f / "enc.h5").write_bytes(b"no hdf5"), "enc.h5 can't be read"),
    (lambda f: (f / "dec.h5").write_bytes((f / "dec.h5").read_bytes()[:3000]), "dec.h5 can't be read"),
    (lambda f: (f / "dec2.h5").write_bytes((f / "dec.h5").read_bytes()), "layers with weights"),
    (lambda f: (f / "gen_ema.h5").write_bytes((f / "critic.h5").read_bytes()), "isn't a generator"),
    (lambda f: (f / "critic.h5").write_bytes((f / "gen_ema.h5").read_bytes()), "critic.h5 lacks the layers"),
    (lambda f: (f / "switch.npy").write_bytes(b"\x80\x04."), "switch.npy"),
])
def test_bad_files_are_refused_in_a_sentence(files, damage, says):
    damage(files)
    with pytest.raises(UserError, match=says):
        import_musika(files)


@pytest.mark.parametrize("change, says", [
    (lambda kernel: kernel[..., :-1], "have weights|has weights"),
    (lambda kernel: kernel * np.nan, "aren't numbers"),
])
def test_weights_of_another_shape_or_nan_are_refused(files, change, says):
    with h5py.File(files / "dec2.h5", "r+") as file:
        group = file["cout/cout"]
        kernel = group["kernel:0"][()]
        del group["kernel:0"]
        group["kernel:0"] = change(kernel)
    with pytest.raises(UserError, match=says):
        import_musika(files)


def test_a_missing_path_and_a_foreign_file(tmp_path):
    with pytest.raises(UserError, match="doesn't exist"):
        import_musika(tmp_path / "nowhere")
    (tmp_path / "other.h5").write_bytes(b"")
    with pytest.raises(UserError, match="has none of the names"):
        import_musika(tmp_path / "other.h5")
