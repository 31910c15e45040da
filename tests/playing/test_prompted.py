"""Prompts on the command line: the model they pick, what is written down, and that it makes the same file again."""

import shlex

import pytest
import torch

from orchestrion.audio import Audio
from orchestrion.cli import main
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.contracts import Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig
from orchestrion.playing import request
from orchestrion.systems import shelf
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import SystemConfig
from toys import ToyCodecConfig


def run(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stopped.value.code, said.out, said.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    flow = FlowConfig(net=DiTConfig(width=16, depth=1, heads=2), context=16, overlap=4)
    system = SystemConfig(codec=ToyCodecConfig(), conditioner=TextEncoderConfig(width=16, depth=1, heads=2),
                          generator=flow).build().eval()
    system.conditioner.fit([Prompt(text="slow soft harp"), Prompt(text="busy piano")])
    for name, weight in system.generator.named_parameters():
        if "leave" in name or "cross.merge" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return save_model(system, tmp_path_factory.mktemp("models") / "band", About(name="band", licence="MIT"))


def test_the_tokeniser_is_in_the_folder(folder):
    from orchestrion.systems.folder import load_model

    conditioner = load_model(folder).system.conditioner
    assert conditioner.read("slow piano") == conditioner.read("Slowly: PIANOS!") and len(conditioner.read("slow")) == 2


def test_the_recorded_command_makes_the_same_clip_again(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("generate", folder, "-p", "slow soft harp", "--negative", "busy", "--cfg-scale", "2.5", "-d", "0.5",
             "--seed", "3", "--steps", "2", "--device", "cpu", "--dtype", "float32", "-o", "a.wav")
    assert run(capsys, *words)[0] == 0
    first = Audio.read("a.wav")
    assert first.provenance["prompt"] == {"text": "slow soft harp", "negative": "busy"}
    command = shlex.split(first.provenance["command"])[1:]
    assert "--negative" in command and command[command.index("--cfg-scale") + 1] == "2.5"
    (tmp_path / "a.wav").unlink()
    assert run(capsys, *command)[0] == 0
    assert torch.equal(Audio.read("a.wav").samples, first.samples)
    more = run(capsys, *[word if word != "2.5" else "4" for word in words])
    assert more[0] == 0 and not torch.allclose(Audio.read("a.wav").samples, first.samples)
    code, _, said = run(capsys, *[word if word != "2.5" else "1" for word in words])
    assert code == 2 and "led away from by a cfg_scale above 1" in said


@pytest.mark.parametrize("verb", ["vary --strength 0.8 -p harp", "continue -d 0.2 -p harp", "transfer -p harp",
                                  "inpaint --from 0.1 --to 0.3 -p harp"])
def test_edits_are_led_away_from_what_is_not_wanted(verb, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Audio(torch.randn(1, 400).clamp(-1, 1) / 4, 1000).write("in.wav")
    verb, *words = verb.split()
    clips = {}
    for negative in ([], ["--negative", "slow harp"], ["--negative", "busy piano"]):
        asked = (verb, folder, "in.wav", *words, *negative, "--cfg-scale", "3", "--seed", "1", "--steps", "2", "-o",
                 "out.wav")
        code, _, said = run(capsys, *asked)
        assert code == 0, said
        clips[negative[-1] if negative else None] = Audio.read("out.wav")
    first, *others = clips.values()
    assert all(not torch.equal(first.samples, other.samples) for other in others)
    again = shlex.split(others[1].provenance["command"])[1:]
    assert others[1].provenance["prompt"]["negative"] == "busy piano"
    (tmp_path / "out.wav").unlink()
    assert run(capsys, *again)[0] == 0 and torch.equal(Audio.read("out.wav").samples, others[1].samples)


def test_words_pick_the_text_model_and_no_words_the_piano():
    assert shelf.default_model(prompted=True) == "text" and shelf.default_model(prompted=False) == "piano"


def test_an_empty_prompt_is_still_a_prompt(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(request, "find_model", lambda name: asked.append(name) or shelf.find_model("nothing"))
    for prompt in ("", " ", "harp", None):
        with pytest.raises(UserError):
            request.make_files(request.Request(prompt=prompt, output=tmp_path / "x.wav"))
    assert asked == ["text", "text", "text", "piano"]


def test_what_a_model_does_not_listen_to_is_refused(folder, tmp_path, capsys):
    from orchestrion.conditioners.attributes import AttributesConfig

    flow = FlowConfig(net=DiTConfig(width=16, depth=1, heads=2), context=16, overlap=4)
    numbers = AttributesConfig(names=("tempo",))
    system = SystemConfig(codec=ToyCodecConfig(), conditioner=numbers, generator=flow).build()
    system.conditioner.fit([Prompt(attributes={"tempo": tempo}) for tempo in (60, 120)])
    counts = save_model(system.eval(), tmp_path / "counts", About(name="counts", licence="MIT"))
    for model, words, sentence in (
        (counts, ["-a", "density=3"], "counts doesn't listen to density, but to tempo"),
        (counts, ["-a", "tempo=90", "-p", "slow"], "counts doesn't listen to text, but to tempo"),
        (folder, ["-a", "tempo=90"], "band doesn't listen to tempo, but to text"),
        (counts, ["-a", "tempo=1000"], "a tempo of 1000 is far from all music that this model knows"),
    ):
        code, _, err = run(capsys, "generate", model, *words, "-d", "0.5", "-o", tmp_path / "x.wav")
        assert code == 2 and sentence in err, err
    played = tmp_path / "x.wav"
    done = run(capsys, "generate", counts, "-a", "tempo=90.12345678", "-d", "0.5", "--steps", "1", "-o", played)
    assert done[0] == 0, done[2]
    assert "-a tempo=90.12345678 " in Audio.read(played).provenance["command"]  # to the last digit


def test_a_model_without_prompts_says_so(capsys, tmp_path):
    code, _, err = run(capsys, "generate", "piano", "-p", "harp", "-d", "1", "-o", tmp_path / "x.wav")
    assert code == 2 and "doesn't listen to text, but to tempo" in err
