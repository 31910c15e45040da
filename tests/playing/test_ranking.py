"""The best of several takes: the judge's favourite is kept, and can be made again alone."""

import shlex

import pytest
import torch

from orchestrion.audio import Audio
from orchestrion.cli import main
from orchestrion.contracts import Prompt
from orchestrion.errors import UserError
from orchestrion.playing.model import Model
from orchestrion.playing.ranking import best_of, find_judge
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import find_system


class Loudest:
    """Likes loud takes: the point of a sound is its level."""

    name = "loudest"

    def hear(self, audio):
        return audio.samples.square().mean().sqrt()[None]

    def read(self, text):
        return torch.ones(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole AudioLDM, untrained."""
    import orchestrion.systems  # noqa: F401  (fills the table)

    torch.manual_seed(0)
    system = find_system("audioldm").recipe("nano").system.build().eval()
    system.conditioner.fit([Prompt(text="slow soft harp")])
    return save_model(system, tmp_path_factory.mktemp("models") / "ldm", About("ldm", licence="MIT"))


def test_the_nearest_take_comes_first_and_is_that_of_its_seed(folder):
    model = Model.load(folder, dtype="float32")
    best, takes = best_of(model, Loudest(), Prompt(text="harp"), 0.2, range(4, 7), {"steps": 1})
    alone = {seed: model.generate(Prompt(text="harp"), 0.2, seed, {"steps": 1}).samples for seed in (4, 5, 6)}
    levels = {seed: samples.square().mean().sqrt().item() for seed, samples in alone.items()}
    assert [take.seed for take in takes] == sorted(levels, key=lambda seed: -levels[seed])
    assert [take.nearness for take in takes] == pytest.approx(sorted(levels.values(), reverse=True))
    assert torch.equal(best.samples, alone[takes[0].seed])
    with pytest.raises(UserError, match="words of a prompt"):
        best_of(model, Loudest(), Prompt(), 0.2, range(2))


def test_the_command_line_keeps_the_best_and_says_how_to_make_it_again(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        return stopped.value.code, capsys.readouterr().err

    words = ("generate", folder, "-p", "slow harp", "-d", "0.2", "--steps", "1", "--seed", "3", "--device", "cpu",
             "--dtype", "float32", "-o", "a.wav")
    code, said = run(*words, "--best-of", "2")
    assert code == 0 and "best of 2 by ldm" in said
    best = Audio.read("a.wav")
    assert best.provenance["seed"] in (3, 4) and best.provenance["chosen"]["of"] == 2
    command = shlex.split(best.provenance["command"])[1:]
    (tmp_path / "a.wav").unlink()
    assert run(*command)[0] == 0 and torch.equal(Audio.read("a.wav").samples, best.samples)
    assert run(*words, "--rank-by", folder)[0] == 2


def test_a_model_without_ears_needs_a_judge():
    class Deaf:
        name, device = "deaf", "cpu"
        system = type("S", (), {"conditioner": None})

    with pytest.raises(UserError, match="--rank-by"):
        find_judge(Deaf())
