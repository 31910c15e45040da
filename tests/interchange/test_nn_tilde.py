"""What is exported answers, in a process of its own, as the model does; and has what nn~ looks for."""

import dataclasses

import pytest
import torch

import orchestrion.interchange.nn_tilde as nn_tilde
from orchestrion.cli import main
from orchestrion.codecs.rave import (
    QuantisedConfig,
    RaveConfig,
    RaveNoiseConfig,
    RaveV1Config,
    RaveV2Config,
    WassersteinConfig,
)
from orchestrion.errors import UserError
from orchestrion.interchange.nn_tilde import export_onnx, export_torchscript, playable
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import SystemConfig

NET = RaveV2Config(capacity=4, ratios=(4, 4), dilations=((1, 3), (1,)))
VARIANTS = {
    "v2 causal": RaveConfig(latents=8, net=NET, causal=True, channels=2),
    "v2": RaveConfig(latents=8, net=dataclasses.replace(NET, noise=RaveNoiseConfig(hidden=8))),
    "v1": RaveConfig(latents=8, net=RaveV1Config(capacity=4)),
    "v3": RaveConfig(latents=8, net=dataclasses.replace(NET, snake=True, adain=True)),
    "discrete": RaveConfig(latents=8, net=NET, bottleneck=QuantisedConfig(codebooks=3, size=16, noise=4)),
    "wasserstein": RaveConfig(latents=8, net=NET, bottleneck=WassersteinConfig(noise=4)),
}


def system(name):
    torch.manual_seed(0)
    made = SystemConfig(codec=VARIANTS[name]).build().eval()
    with torch.no_grad():
        for key, parameter in made.codec.named_parameters():
            if key.endswith(("gain", "direction")):
                parameter.mul_(1.5 if name == "v3" else 2.5)
    return made


@pytest.mark.parametrize("name", VARIANTS)
def test_it_can_be_compiled_and_answers_the_same(name):
    model = playable(system(name))
    scripted, audio = torch.jit.script(model), 0.3 * torch.randn(1, model.channels, 4 * 8192)
    answers = []
    with torch.no_grad():
        for some in (model, scripted):
            torch.manual_seed(0)
            answers.append(torch.cat([some(block) for block in audio.split(8192, -1)], -1))
    assert answers[0].shape == audio.shape and answers[0].std() > 1e-3
    difference = (answers[0] - answers[1]).abs().max() / answers[0].abs().max()
    assert difference < 1e-4
    for method in scripted.get_methods():
        inputs, ratio, outputs, ratio_out = getattr(scripted, f"{method}_params").tolist()
        assert getattr(scripted, method)(torch.zeros(3, inputs, 2048 // ratio)).shape == (3, outputs, 2048 // ratio_out)
        assert len(getattr(scripted, f"{method}_output_labels")) == outputs
    assert scripted.get_attributes() == ["reset"] and scripted.set_reset(True) == 0


def test_it_plays_what_the_codec_plays():
    """Blocks through nn~'s methods, and the codec's whole clip, but for the silence in front."""
    made = system("v2 causal")
    model, codec = playable(made), made.codec
    audio = 0.3 * torch.randn(1, 2, 24 * codec.frame)
    with torch.no_grad():
        whole = codec.decode(codec.encode(audio))
        latents = torch.cat([model.encode(block) for block in audio.split(2048, -1)], -1)
        played = torch.cat([model.decode(block) for block in latents.split(1, -1)], -1)
        streamed, _ = codec.decode_stream(latents)
    assert torch.allclose(latents, codec.encode(audio), atol=1e-5)
    count = streamed.shape[-1]  # what is known without an end
    delay = played.shape[-1] - count
    assert torch.allclose(played[..., delay:], whole[..., :count], atol=1e-4)


def test_the_command_exports_and_compares(tmp_path, capsys):
    save_model(system("v2 causal"), tmp_path / "mine", About(name="mine"))
    with pytest.raises(SystemExit) as exit_:
        main(["export", str(tmp_path / "mine"), "-o", str(tmp_path / "mine.ts")])
    assert exit_.value.code == 0 and "compared in a clean process" in capsys.readouterr().err
    assert torch.jit.load(tmp_path / "mine.ts").get_methods() == ["encode", "decode", "forward"]


def test_an_export_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(nn_tilde, "_elsewhere", lambda *_: (_ for _ in ()).throw(UserError("answers otherwise")))
    with pytest.raises(UserError, match="otherwise"):
        export_torchscript(system("v2"), tmp_path / "mine.ts")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["v2", "discrete"])
def test_onnx_answers_the_same(tmp_path, name):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert export_onnx(system(name), tmp_path / "mine.onnx") < 1e-4
    assert {p.name for p in tmp_path.iterdir()} == {"mine.encoder.onnx", "mine.decoder.onnx"}
