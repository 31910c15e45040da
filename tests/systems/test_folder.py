import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from orchestrion.errors import UserError
from orchestrion.systems import folder as folder_module
from orchestrion.systems import shelf
from orchestrion.systems.folder import (
    About,
    SharedCodec,
    load_model,
    save_model,
    weights_hash,
)
from toys import shared_pair, toy_model_folder, toy_system


def states_equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_model_comes_back_bit_for_bit(tmp_path):
    system = toy_system()
    about = About(name="toy", licence="MIT", training={"hours": 2.5}, scores={"log-mel L1": 0.3})
    save_model(system, tmp_path / "toy", about)
    loaded = load_model(tmp_path / "toy")
    assert states_equal(loaded.system, system)
    assert loaded.about == about
    assert loaded.sha256 == weights_hash(system.state_dict())
    assert not any(p.requires_grad for p in loaded.system.parameters())
    card = (tmp_path / "toy" / "README.md").read_text()
    assert card.startswith("---\nlicense: \"mit\"\n") and "| hours | 2.5 |" in card and "log-mel" in card
    assert len({p.stat().st_mode for p in (tmp_path / "toy").iterdir()}) == 1  # whoever reads one reads all
    assert sorted(p.name for p in tmp_path.iterdir()) == ["toy"]  # no temporary folder is left


def test_given_weights_take_the_place_of_the_systems_own(tmp_path):
    system = toy_system()
    ema = {name: value + 1 for name, value in system.state_dict().items()}
    save_model(system, tmp_path / "toy", About(name="toy"), weights=ema)
    state = load_model(tmp_path / "toy").system.state_dict()
    assert all(torch.equal(state[name], ema[name]) for name in ema)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_float32(tmp_path, dtype):
    system = toy_system()
    save_model(system, tmp_path / "toy", About(name="toy"), dtype=dtype)
    assert load_file(tmp_path / "toy" / "model.safetensors")["generator.net.weight"].dtype == dtype
    weight = load_model(tmp_path / "toy").system.generator.net.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, system.generator.net.weight.to(dtype).float())


def test_large_weights_are_cut_into_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "PART_SIZE", 10_000)
    system = toy_system()
    save_model(system, tmp_path / "toy", About(name="toy"))
    parts = list((tmp_path / "toy").glob("model-*-of-*.safetensors"))
    assert len(parts) > 1 and (tmp_path / "toy" / "model.safetensors.index.json").is_file()
    assert states_equal(load_model(tmp_path / "toy").system, system)
    parts[0].unlink()
    with pytest.raises(UserError, match=f"not whole: {parts[0].name} is missing"):
        load_model(tmp_path / "toy")


def test_a_hash_is_of_values_not_of_storage():
    state = {"a": torch.randn(3, 4).half(), "b": torch.arange(3)}
    assert weights_hash(state) == weights_hash({"b": state["b"].int(), "a": state["a"].float()})
    assert weights_hash(state) != weights_hash(state | {"a": state["a"] + 1})
    assert weights_hash(state) != weights_hash(state | {"a": state["a"].reshape(4, 3)})


def test_a_shared_codec_is_found_beside_the_model(tmp_path):
    system, _ = shared_pair(tmp_path)
    assert not any(k.startswith("codec.") for k in load_file(tmp_path / "toy" / "model.safetensors"))
    loaded = load_model(tmp_path / "toy")
    assert states_equal(loaded.system, system)
    assert loaded.shared_codec.shared == "toy-codec"


def test_a_shared_codec_is_found_among_the_bundled_models(tmp_path, monkeypatch):
    shared_pair(tmp_path)
    (tmp_path / "bundled").mkdir()
    (tmp_path / "toy-codec").rename(tmp_path / "bundled" / "toy-codec")
    with pytest.raises(UserError, match=r"needs the codec 'toy-codec'.*not among the bundled"):
        load_model(tmp_path / "toy")
    monkeypatch.setattr(shelf, "BUNDLED", tmp_path / "bundled")
    load_model(tmp_path / "toy")
    assert list(shelf.bundled_models()) == ["toy-codec"]


def test_another_codec_of_the_same_name_is_refused(tmp_path):
    system, _ = shared_pair(tmp_path)
    wrong = SharedCodec("toy-codec", "0" * 64)
    save_model(system, tmp_path / "toy", About(name="toy"), codec=wrong)
    with pytest.raises(UserError, match="has other weights"):
        load_model(tmp_path / "toy")


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def spoil_shape(folder):
    path = folder / "model.safetensors"
    state = load_file(path)
    state["generator.net.weight"] = torch.zeros(3, 8, 5)
    save_file(state, path)


def forget_weight(folder):
    path = folder / "model.safetensors"
    state = load_file(path)
    del state["generator.net.bias"]
    save_file(state, path)


@pytest.mark.parametrize("spoil, sentence", [
    (lambda f: (f / "config.json").write_text("{not json"), "config.json is damaged"),
    (lambda f: (f / "config.json").write_text("[]"), "no format_version"),
    (lambda f: (f / "config.json").unlink(), "not a model folder"),
    (lambda f: edit_config(f, format_version=99), "newer Orchestrion"),
    (lambda f: edit_config(f, system=None), "its 'system' is missing or malformed"),
    (lambda f: edit_config(f, about=[]), "its 'about' is missing or malformed"),
    (lambda f: edit_config(f, about={"defaults": 5}), "its 'about' is missing or malformed"),
    (lambda f: edit_config(f, codec={"shared": "spectral-v5"}), "its 'codec' is missing or malformed"),
    (lambda f: edit_config(f, codec="spectral-v5"), "its 'codec' is missing or malformed"),
    (lambda f: edit_config(f, system={"type": "SystemConfig", "codec": {"type": "ToyCodecConfg"}}),
     r"config\.json: there is no config 'ToyCodecConfg'; did you mean 'ToyCodecConfig'"),
    (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100), "model.safetensors is damaged"),
    (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-50]), "is damaged"),
    (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    (spoil_shape, r"weights of another shape: generator.net.weight is \[3, 8, 5\] in the file, \[8, 8, 5\]"),
    (forget_weight, "lacks the weights generator.net.bias"),
])
def test_what_is_wrong_with_a_folder_is_said_in_one_sentence(tmp_path, spoil, sentence):
    toy_model_folder(tmp_path / "toy")
    load_model(tmp_path / "toy")
    spoil(tmp_path / "toy")
    with pytest.raises(UserError, match=sentence) as caught:
        load_model(tmp_path / "toy")
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("dear")
    with pytest.raises(UserError, match="holds something that is not a model"):
        save_model(toy_system(), tmp_path / "thesis", About(name="toy"))
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "dear"


def test_a_full_disk_while_saving_is_said(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("huggingface_hub.save_torch_state_dict", full)
    with pytest.raises(UserError, match=r"toy can't be written: .* No space left"):
        toy_model_folder(tmp_path / "toy")
    assert not list(tmp_path.iterdir())


def test_failing_while_saving_leaves_the_old_model(tmp_path, monkeypatch):
    toy_model_folder(tmp_path / "toy")
    before = (tmp_path / "toy" / "model.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.save_torch_state_dict", full)
    with pytest.raises(UserError, match="No space left on device"):
        toy_model_folder(tmp_path / "toy")
    assert (tmp_path / "toy" / "model.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["toy"]


@pytest.mark.parametrize("name, sentence", [
    ("piono-gan", "did you mean 'piano-gan'"),
    ("./nowhere", "there is no model folder"),
    ("models/nowhere", "there is no model folder"),
])
def test_unknown_models_are_refused(tmp_path, monkeypatch, name, sentence):
    toy_model_folder(tmp_path / "piano-gan")
    monkeypatch.setattr(shelf, "BUNDLED", tmp_path)
    assert shelf.find_model("piano-gan") == tmp_path / "piano-gan"
    with pytest.raises(UserError, match=sentence):
        shelf.find_model(name)


def test_an_alias_stands_for_a_bundled_model(tmp_path, monkeypatch):
    toy_model_folder(tmp_path / "piano-gan")
    (tmp_path / "aliases.json").write_text('{"piano": "piano-gan"}')
    monkeypatch.setattr(shelf, "BUNDLED", tmp_path)
    assert shelf.find_model("piano") == tmp_path / "piano-gan"
