import importlib.util
from pathlib import Path

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.interchange.mousai import beneath, fill, import_mousai
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


@pytest.fixture
def small_systems(monkeypatch, compare, name):
    """The systems' smallest size, as small as the fixture."""
    from orchestrion.systems import dmae, upsampler, vocoder, waveform

    encoder = compare.MagnitudeEncoderConfig(bins=8, hop=4, width=8, factors=(2, 1), blocks=(1, 2), latents=3, groups=2)
    monkeypatch.setitem(dmae.CODECS, "nano", compare.DmaeConfig(encoder=encoder, levels=compare.SMALL, filters=3,
                                                                window=8, stride=4, depth=1))
    monkeypatch.setitem(upsampler.CODECS, "nano", compare.UpsamplerConfig(channels=2, factor=4, levels=compare.SMALL))
    monkeypatch.setitem(vocoder.CODECS, "nano", compare.VocoderConfig(bands=5, n_fft=16, hop=4, levels=compare.SMALL))
    monkeypatch.setitem(waveform.NETS, "nano", compare.ATTENTIVE if name == "waveform" else compare.SMALL)
    monkeypatch.setitem(waveform.CODECS, "nano", waveform.WaveformConfig(channels=2))


@pytest.mark.parametrize("name, case", [("waveform", "waveform"), ("dmae", "autoencoder"), ("upsampler", "upsampler"),
                                        ("vocoder", "vocoder"), ("ladder", "autoregressive")])
def test_a_checkpoint_under_any_prefix_becomes_a_system(name, case, kept, small_systems, tmp_path):
    weights = beneath(kept, f"{case}/weights/")
    state = {f"model.{key}": value for key, value in weights.items()}
    state |= {f"model.{again}.{key}": value for key, value in weights.items() for again in ("diffusion", "sampler")
              if key.startswith("net.")}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "theirs.ckpt")
    system = import_mousai(tmp_path / "theirs.ckpt", name, "nano")
    wanted = sorted(value.double().sum().item() for key, value in weights.items()
                    if not key.endswith(("window", ".fb")) and "blocks.1.blocks.1.0" not in key)
    found = sorted(p.double().sum().item() for p in system.parameters())
    assert found == pytest.approx(wanted, abs=1e-5)
    if name not in ("waveform", "ladder"):
        assert system.codec.level == 1


def test_files_that_hold_no_such_model_are_refused(tmp_path):
    (tmp_path / "text.bin").write_text("hello")
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "other.bin")
    for name, sentence in (("text.bin", "can't be read"), ("other.bin", "holds no model"), ("none.bin", "no file")):
        with pytest.raises(UserError, match=sentence):
            import_mousai(tmp_path / name, "dmae", "nano")
    with pytest.raises(UserError, match="audio-diffusion-pytorch has no 'flow'"):
        import_mousai(tmp_path / "other.bin", "flow", "nano")
