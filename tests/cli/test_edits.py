import os
import shlex

import pytest
import torch

from editing_toys import EditingToyConfig, music
from orchestrion import Audio
from orchestrion.cli import main
from orchestrion.systems import shelf
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import SystemConfig
from toys import ToyCodecConfig, toy_model_folder


@pytest.fixture(autouse=True)
def bundled(tmp_path, monkeypatch):
    """A shelf with a toy that can edit, called piano too, one that can't, and a folder with a file to work in."""
    toy_model_folder(tmp_path / "models" / "toy")
    system = SystemConfig(codec=ToyCodecConfig(channels=1), generator=EditingToyConfig()).build().eval()
    save_model(system, tmp_path / "models" / "editor", About(name="editor", licence="MIT", data="noise"))
    (tmp_path / "models" / "aliases.json").write_text('{"piano": "editor"}')
    monkeypatch.setattr(shelf, "BUNDLED", tmp_path / "models")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    music(2.0).write("in.wav")
    music(3.0, seed=1).write("other.flac")
    return tmp_path / "models"


@pytest.fixture
def orchestrion(capsys):
    def run(line):
        with pytest.raises(SystemExit) as caught:
            main(shlex.split(line))
        out = capsys.readouterr()
        return caught.value.code, out.out, out.err

    return run


@pytest.mark.parametrize("line", [
    "continue in.wav -d 1 --seed 3 -o out.wav",
    "continue editor in.wav -d 1 -o out.flac",  # any seed: the file tells which
    "inpaint in.wav --from 0.5 --to 1 --seed 2 -n 2 -o out.wav",
    "vary in.wav --strength 0.3 --seed 2 --steps 7 -o out.wav",
])
def test_what_inspect_prints_makes_the_same_samples(orchestrion, line):
    code, out, err = orchestrion(line)
    assert code == 0, err
    path = out.split()[-1]
    first = Audio.read(path)
    _, told, _ = orchestrion(f"inspect {path}")
    os.remove(path)
    command = told.strip().splitlines()[-1]
    code, _, err = orchestrion(command.removeprefix("orchestrion "))
    assert code == 0, err
    assert torch.equal(Audio.read(path).samples, first.samples)


def test_a_file_that_is_loud_stays_as_it_is(orchestrion):
    """No gain for the sake of the peaks: what is kept is the file's own, bit for bit."""
    loud = music(2.0).samples
    loud = loud / loud.abs().max()
    Audio(loud, 8000).write("soft.wav")  # the writer itself holds peaks below its ceiling
    import soundfile

    soundfile.write("loud.wav", loud.T.numpy(), 8000, subtype="PCM_16")
    assert orchestrion("continue loud.wav -d 1 --seed 1 -o out.wav")[0] == 0
    made, source = Audio.read("out.wav").samples, Audio.read("loud.wav").samples
    assert torch.equal(made[:, :15_000], source[:, :15_000])


def test_a_file_beyond_full_scale_is_scaled_as_a_whole(orchestrion):
    import soundfile

    loud = music(2.0).samples
    soundfile.write("hot.wav", (3 * loud / loud.abs().max()).T.numpy(), 8000, subtype="FLOAT")
    assert orchestrion("continue hot.wav -d 1 --seed 1 -o out.wav")[0] == 0
    made, source = Audio.read("out.wav").samples, Audio.read("hot.wav").samples[:, :15_000]
    gain = made[:, :15_000].norm() / source.norm()
    assert gain < 0.33 and (made[:, :15_000] - gain * source).abs().max() < 1e-4
    assert made.abs().max() < 0.98


@pytest.mark.parametrize(("line", "said"), [
    ("continue nothing.wav", "nothing.wav"),
    ("continue", "Missing argument"),
    ("continue a b c", "continue takes a file"),
    ("inpaint in.wav --from 1", "--to"),
    ("inpaint in.wav --from 1 --to 0.5", "to a later one"),
    ("vary in.wav --strength 2", "from 0 to 1"),
    ("vary in.wav --strength nan", "from 0 to 1"),
    ("continue in.wav -d 0", "above 0"),
    ("continue toy in.wav", "can't continue"),
    ("vary in.wav -o in.wav", "in.wav is what it would be made from"),
    ("vary in.wav -o ../work/in.wav", "would be lost"),
    ("continue in.wav --seed 9223372036854775807 -n 2", "2 clips take the seeds from 9223372036854775807 on"),
    ("continue in.wav -d 1e12", "of memory"),
    ("reconstruct toy in.wav -o in.wav", "would be lost"),
    ("transfer toy in.wav -o in.wav", "would be lost"),
    ("transfer toy in.wav -o out.wav --noise nan", "from 0"),
    ("interpolate toy other.flac in.wav -o in.wav", "would be lost"),
    ("interpolate toy in.wav other.flac -o out.wav --mix nan", "from 0"),
    ("interpolate toy in.wav other.flac -o out.wav --steps 3", "toy goes from latent to latent, without steps"),
    ("interpolate editor in.wav other.flac -o out.wav --solver euler", "editor has no option 'solver'"),
    ("vary in.wav -p calm", "takes no prompt"),
    ("continue in.wav -o out.xyz", "out.xyz"),
    ("continue nomodel in.wav", "nomodel"),
])
def test_bad_input_is_one_sentence(orchestrion, line, said):
    before = sorted(os.listdir("."))
    code, out, err = orchestrion(line)
    assert (code, out) == (2, "") and said in err and len(err.strip().splitlines()) == 1
    assert sorted(os.listdir(".")) == before


@pytest.mark.parametrize("line", [
    "reconstruct toy in.wav -o sub/out.wav",
    "interpolate editor in.wav other.flac --mix 0.25 -o out.flac",
    "interpolate toy in.wav other.flac --mix 0.25 -o out.flac",
    "transfer toy in.wav --scale 0=1.5 --scale all=0.9 --noise 0.1 -o out.wav",
    "vary in.wav --seed 1 -o sub/out.wav",
])
def test_what_is_made_of_files_can_be_made_again(orchestrion, line):
    path = line.split()[-1]
    code, _, err = orchestrion(line)
    assert code == 0, err
    first = Audio.read(path)
    command = orchestrion(f"inspect {path}")[1].strip().splitlines()[-1]
    assert f"-o {path}" in command
    os.remove(path)
    assert orchestrion(command.removeprefix("orchestrion "))[0] == 0
    assert torch.equal(Audio.read(path).samples, first.samples)


def test_latents_know_their_command_too(orchestrion):
    assert orchestrion("encode toy in.wav -o in.safetensors")[0] == 0
    assert orchestrion("decode toy in.safetensors -o out.wav")[0] == 0
    assert "orchestrion encode toy " in orchestrion("inspect in.safetensors")[1]
    assert "orchestrion decode toy " in orchestrion("inspect out.wav")[1]
    assert os.stat("in.safetensors").st_mode == os.stat("out.wav").st_mode


def test_a_source_that_has_changed_is_told(orchestrion):
    orchestrion("vary in.wav --seed 1 -o out.wav")
    assert "beware" not in orchestrion("inspect out.wav")[1]
    music(2.0, seed=9).write("in.wav")
    assert "in.wav has changed since" in orchestrion("inspect out.wav")[1]
    os.remove("in.wav")
    assert "in.wav is gone" in orchestrion("inspect out.wav")[1]


def test_damaged_weights_are_told(orchestrion, bundled):
    weights = bundled / "toy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    code, out, err = orchestrion("inspect toy")
    assert (code, out) == (2, "") and "model.safetensors is damaged" in err


@pytest.mark.parametrize(("line", "words"), [
    ("transfer editor in.wav -p harp -o out.wav", "takes no prompt"),
    ("transfer editor in.wav -p ' ' -o out.wav", "needs some"),
    ("transfer editor in.wav -p harp --scale 0=2 -o out.wav", "ask for one or the other"),
    ("transfer editor in.wav --strength 0.3 -o out.wav", "--strength belongs to a transfer by words"),
    ("transfer toy in.wav -p harp -o out.wav", "can't vary"),
])
def test_a_transfer_by_words_wants_words_and_a_model_for_them(orchestrion, line, words):
    code, _, err = orchestrion(line)
    assert code == 2 and words in err and not os.path.exists("out.wav")
