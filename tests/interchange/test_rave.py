"""Checkpoints written by acids-rave with random weights answer here as they do there."""

import importlib.util
import zipfile
from pathlib import Path

import pytest
import torch

import orchestrion.codecs.rave.codec as codec_module
from orchestrion.cli import main
from orchestrion.errors import UserError
from orchestrion.interchange.rave import import_rave, is_rave
from orchestrion.systems.folder import load_model

FIXTURE = Path(__file__).parent.parent / "fixtures" / "rave"
spec = importlib.util.spec_from_file_location("compare_rave", FIXTURE / "compare.py")
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("normal_noise", "uniform_noise"):
        monkeypatch.setattr(codec_module, name, getattr(codec_module, name))  # compare.py replaces them
    zipfile.ZipFile(FIXTURE / "acids.zip").extractall(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["v1", "v2", "v2_causal", "v2_small", "discrete", "wasserstein"])
def test_every_network_answers_as_the_reference(files, name):
    found = compare.differences(files / name / "model.ckpt", files / name / "io.npz")
    assert all(value < 1e-4 for value in found.values()), found


def test_the_configuration_is_read(files):
    codec = import_rave(files / "v2_causal").system.codec
    assert codec.config.causal and codec.sample_rate == 44_100 and codec.config.net.dilations[3] == (1, 3)
    assert import_rave(files / "v2" / "model.ckpt").system.codec.channels == 2
    (files / "v1" / "config.gin").unlink()
    imported = import_rave(files / "v1" / "model.ckpt", sample_rate=48_000)
    assert imported.system.codec.sample_rate == 48_000 and "padding" in " ".join(imported.unknown)


def test_the_command_makes_a_model(files, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["import", str(files / "v2"), "-o", str(files / "mine")])
    assert exit_.value.code == 0
    codec = load_model(files / "mine").system.codec
    assert codec.settle(codec.config).rank == 4  # fidelities are linear from 0.5 to 1: 0.95 needs all four


@pytest.mark.parametrize("change, says", [
    (lambda p: p.write_bytes(b"nothing"), "can't be read as a checkpoint"),
    (lambda p: torch.save({"state_dict": {"a": torch.zeros(1)}}, p), "not RAVE's"),
    (lambda p: edit(p, "encoder.encoder.net.0.weight_v", lambda w: w * torch.nan), "aren't numbers"),
    (lambda p: edit(p, "latent_pca", lambda w: w[:2]), "shape"),
    (lambda p: edit(p, "decoder.net.3.aligned.branches.0.net.1.weight_v", lambda w: w[:, :1]), "shape"),
])
def test_bad_files_are_refused_in_a_sentence(files, change, says):
    path = files / "v2" / "model.ckpt"
    change(path)
    with pytest.raises(UserError, match=says):
        import_rave(path)


def edit(path, key, change):
    data = torch.load(path, weights_only=True)
    data["state_dict"][key] = change(data["state_dict"][key])
    torch.save(data, path)


def test_code_is_not_run_without_trust(tmp_path):
    (tmp_path / "a.ts").write_bytes(b"PK")
    assert is_rave([tmp_path / "a.ts"]) and not is_rave([tmp_path])
    with pytest.raises(UserError, match="--trust"):
        import_rave(tmp_path / "a.ts")
    with pytest.raises(UserError, match="can't be read as TorchScript"):
        import_rave(tmp_path / "a.ts", trust=True)
    with pytest.raises(UserError, match="doesn't exist"):
        import_rave(tmp_path / "b.ckpt")
