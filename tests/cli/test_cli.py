import dataclasses
import inspect
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from orchestrion import Audio
from orchestrion.cli import generate as generate_verbs
from orchestrion.cli import main
from orchestrion.contracts import Generator
from orchestrion.systems import shelf
from toys import ToyGenerator, toy_model_folder


@pytest.fixture(autouse=True)
def bundled(tmp_path, monkeypatch):
    """A shelf with one toy, called piano too, and an empty folder to work in."""
    (tmp_path / "models").mkdir()
    toy_model_folder(tmp_path / "models" / "toy")
    (tmp_path / "models" / "aliases.json").write_text('{"piano": "toy"}')
    monkeypatch.setattr(shelf, "BUNDLED", tmp_path / "models")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "models"


@pytest.fixture
def orchestrion(capsys):
    """Runs a command line -> exit code, stdout, stderr."""

    def run(line):
        with pytest.raises(SystemExit) as caught:
            main(shlex.split(line))
        out = capsys.readouterr()
        return caught.value.code, out.out, out.err

    return run


def test_one_command_makes_sound(orchestrion, tmp_path):
    code, out, err = orchestrion("generate -d 2 --seed 1 -o a.wav --plot")
    assert (code, out.split()) == (0, ["a.wav", "a.png"])
    assert "toy, seed 1: 2 s of sound" in err
    assert Audio.read("a.wav").duration == 2.0
    assert sorted(os.listdir(".")) == ["a.png", "a.wav"]


@pytest.mark.parametrize("line", [
    "generate piano -d 1.5 --seed 3 --steps 7 -o a.wav",
    "generate toy -d 1 -o a.flac",  # any seed: the file tells which
    "generate {folder} -d 1 -n 3 --seed 8 -o a.wav",
])
def test_what_inspect_prints_makes_the_same_samples(orchestrion, bundled, line):
    code, out, _ = orchestrion(line.format(folder=bundled / "toy"))
    assert code == 0
    made = out.split()
    first = [Audio.read(name).samples for name in made]
    code, out, _ = orchestrion(f"inspect {made[-1]}")
    assert code == 0
    for fact in ("model", "model_sha256", "software", "seed", "settings steps", "licence"):
        assert any(row.startswith(fact + " ") for row in out.splitlines()), fact
    command = out.splitlines()[-1].removeprefix("orchestrion ")
    for name in made:
        os.remove(name)
    assert orchestrion(command)[0] == 0
    assert all(torch.equal(Audio.read(name).samples, samples) for name, samples in zip(made, first))


def test_several_clips_come_from_following_seeds(orchestrion):
    orchestrion("generate -d 1 -n 2 --seed 4 -o a.wav")
    orchestrion("generate -d 1 --seed 5 -o b.wav")
    assert (Audio.read("a-2.wav").samples - Audio.read("b.wav").samples).abs().max() < 0.02
    assert Audio.read("a-2.wav").provenance["seed"] == 5


def test_latents_go_out_and_come_back(orchestrion):
    orchestrion("generate -d 2 --seed 1 -o a.wav")
    assert orchestrion("encode toy a.wav -o a.safetensors")[:2] == (0, "a.safetensors\n")
    assert orchestrion("decode toy a.safetensors -o b.wav")[0] == 0
    assert orchestrion("reconstruct toy a.wav -o c.wav")[0] == 0
    assert torch.equal(Audio.read("b.wav").samples, Audio.read("c.wav").samples)
    facts = json.loads(orchestrion("inspect a.safetensors --json")[1])
    assert (facts["verb"], facts["length"], facts["source"]) == ("encode", 16_000, "a.wav")


def test_models_and_a_model_are_described(orchestrion, bundled):
    assert "toy (= piano)  MIT" in orchestrion("models")[1]
    code, out, _ = orchestrion("inspect toy")
    assert code == 0 and "ToyGeneratorConfig" in out and "noise" in out


def test_a_corpus_is_described(orchestrion, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "corpus.json").write_text('{"name": "mine", "hours": 1.5, "licence": "CC0"}')
    (corpus / "manifest.jsonl").write_text("{}\n{}\n")
    facts = json.loads(orchestrion(f"inspect {corpus} --json")[1])
    assert (facts["name"], facts["hours"], facts["pieces"], facts["refused"]) == ("mine", 1.5, 2, 0)


def test_doctor_names_what_it_looked_at(orchestrion, monkeypatch):
    code, out, _ = orchestrion("doctor")
    assert code == 0
    for what in ("Python", "torch", "CPU", "GPU", "audio files", "FluidSynth", "soundfonts", "disk"):
        assert what in out
    monkeypatch.setenv("PATH", "")
    assert "apt-get install fluidsynth" in orchestrion("doctor")[1] or sys.platform == "darwin"
    monkeypatch.setattr(shelf, "BUNDLED", shelf.BUNDLED / "nowhere")
    code, out, _ = orchestrion("doctor")
    assert code == 1 and "MISSING models" in out


def test_version_and_help(orchestrion):
    assert orchestrion("--version")[:2] == (0, "orchestrion 0.1.0\n")
    assert "generate" in orchestrion("")[1]


REFUSED = [
    ("generate -d -3", "a duration is a number of seconds above 0, not -3"),
    ("generate -d 0", "above 0"),
    ("generate -d nan", "above 0"),
    ("generate toi", "there is no model 'toi'; did you mean 'toy'?"),
    ("generate ./toy", "there is no model folder toy"),
    ("generate -o a.xyz", "audio is written as .wav, .flac, .ogg, .mp3, not '.xyz'"),
    ("generate -o file/a.wav", "file/a.wav can't be written"),
    ("generate --seed -1", "a seed is a whole number from 0"),
    ("generate --seed 9223372036854775807 -n 2", "2 clips take the seeds from 9223372036854775807 on"),
    ("generate -d 1e12 -o a.flac", "GiB"),
    ("generate -d 200000 -n 1 -o a.wav", "a wav holds 4 GiB"),
    ("generate -a tempo=nan", "--attribute takes NAME=NUMBER"),
    ("loop", "no bundled model loops yet: name one that does, such as the folder of one trained as"),
    ("generate --cfg-scale 3", "toy has no option 'cfg_scale'"),
    ("generate toy -p calm", "toy takes no prompt"),
    ("generate -a tempo=fast", "--attribute takes NAME=NUMBER"),
    ("generate -a tempo=90 -a tempo=100", "--attribute gives tempo twice, 90 and 100: leave one out"),
    ("generate --device gpu", "there is no device 'gpu'"),
    ("generate --dtype int3", "there is no precision 'int3'"),
    ("generate -n 0", "-n"),
    ("generate --durration 3", "No such option"),
    ("generat", "Did you mean 'generate'"),
    ("loop toy", "toy can't loop"),
    ("encode toy missing.wav -o a.safetensors", "there is no file missing.wav"),
    ("encode toy file -o a.safetensors", "file can't be read as audio"),
    ("encode toy file", "Missing option"),
    ("decode toy file -o a.wav", "file is not a latents file"),
    ("import file -o m", "file has none of the names that Musika's files have"),
    ("import nowhere -o m", "nowhere doesn't exist: give a file or folder of weights, or hf:owner/name"),
    ("prepare nowhere -o corpus", "there is nothing at"),
    ("train flow --data nowhere", "nowhere"),
    ("train flowe --data nowhere", "did you mean 'flow'"),
    ("inspect missing.wav", "there is no file or folder missing.wav"),
    ("inspect file", "file can't be read as audio"),
]


@pytest.mark.parametrize("line, sentence", REFUSED)
def test_bad_input_is_one_sentence_and_exit_2(orchestrion, line, sentence):
    with open("file", "w") as file:
        file.write("hello")
    code, out, err = orchestrion(line)
    assert code == 2
    assert err.startswith("orchestrion: ") and err.count("\n") == 1 and sentence in err
    assert out == "" and os.listdir(".") == ["file"]


@pytest.mark.parametrize(("file", "spoilt", "sentence"), [
    ("model.safetensors", lambda data: data[:-50], "model.safetensors is damaged"),
    ("config.json", lambda data: data[:50], "config.json is damaged"),
    ("config.json", lambda data: data.replace(b'"latents": 8', b'"latents": 5'), "holds weights of another shape"),
])
def test_a_spoilt_model_folder_is_one_sentence_and_exit_2(orchestrion, bundled, file, spoilt, sentence):
    folder = bundled.parent / "work/mine"
    shutil.copytree(bundled / "toy", folder)
    (folder / file).write_bytes(spoilt((folder / file).read_bytes()))
    code, _, err = orchestrion("generate ./mine -d 1 -o a.wav")
    assert code == 2 and sentence in err and err.count("\n") == 1
    assert os.listdir(".") == ["mine"]


def test_what_can_be_refused_is_refused_before_the_model_is_loaded(orchestrion, monkeypatch):
    def loaded(*_):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("orchestrion.playing.model.load_model", loaded)
    for line in ("generate -d -3", "generate -o a.xyz", "generate -o /proc/nowhere/a.wav", "generate toi"):
        assert orchestrion(line)[0] == 2
    assert orchestrion("generate")[0] == 1  # so the trap works


def test_a_name_too_long_for_a_file_is_said_so(orchestrion):
    for line in (f"reconstruct spectral-v5 {'a' * 300}.wav -o out.wav", f"generate -d 1 -o {'a' * 300}.wav"):
        code, _, err = orchestrion(line)
        assert code == 2 and "… is too long a name for a file: shorten it" in err


def test_our_own_mistakes_exit_with_1_and_keep_the_traceback_for_debug(orchestrion, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bolt is loose")

    monkeypatch.setattr("orchestrion.playing.model.load_model", broken)
    code, _, err = orchestrion("generate")
    assert code == 1 and "a mistake of ours, RuntimeError: a bolt is loose" in err and "Traceback" not in err
    assert "Traceback" in orchestrion("generate --debug")[2]


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 321. TiB for an array"),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")])
def test_want_of_memory_is_no_mistake_of_ours(orchestrion, monkeypatch, error):
    def sample(*_, **__):
        raise error

    monkeypatch.setattr(ToyGenerator, "sample", sample)
    code, _, err = orchestrion("generate -d 1 -o a.wav")
    assert code == 2 and "not enough memory" in err and "ask for fewer seconds" in err


def test_a_full_disk_is_said_and_leaves_nothing(orchestrion, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orchestrion.audio.files.soundfile.SoundFile.write", full)
    code, _, err = orchestrion("generate -d 1 -o a.wav")
    assert code == 2 and "No space left on device" in err
    assert os.listdir(".") == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_kill_leaves_no_half_written_target(bundled, tmp_path, number):
    code = ("import signal, sys, time; sys.path.insert(0, sys.argv[1]); import toys\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored in a background job\n"
            "from orchestrion.audio.files import Writer\n"
            "write = Writer.write\n"
            "def slowly(self, block): write(self, block); print('wrote', flush=True); time.sleep(9)\n"
            "Writer.write = slowly\n"
            "from orchestrion.cli import main\n"
            "main(['generate', sys.argv[2], '-d', '60', '-o', 'a.wav'])")
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    process = subprocess.Popen([sys.executable, "-c", code, tests, str(bundled / "toy")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "wrote\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert not os.path.exists("a.wav")
    told = "orchestrion: stopped\n" if number == signal.SIGINT else ""
    assert (process.returncode, err) == (130 if number == signal.SIGINT else -9, told)


def test_sound_that_is_no_numbers_is_not_written(orchestrion, monkeypatch):
    sample = ToyGenerator.sample
    monkeypatch.setattr(ToyGenerator, "sample", lambda *a, **k: sample(*a, **k).mul(float("nan")))
    code, _, err = orchestrion("generate -d 1 -o a.wav")
    assert code == 2 and "a.wav is not written: toy gave samples that are no finite numbers" in err
    assert os.listdir(".") == []


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "orchestrion", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "orchestrion 0.1.0\n"), done.stderr


def test_the_systems_that_loop_are_named(orchestrion):
    err = orchestrion("loop")[2]
    assert "musika" in err and "spectral" not in err


def families(cls=Generator):
    import orchestrion.generators  # noqa: F401

    for family in cls.__subclasses__():
        yield family
        yield from families(family)


def test_every_option_of_every_family_is_offered():
    offered = set(inspect.signature(generate_verbs.generate).parameters)
    seen = set()
    for family in families():
        if dataclasses.is_dataclass(family.options) and family.__module__.startswith("orchestrion."):
            seen.add(family)
            names = {field.name for field in dataclasses.fields(family.options)} - {"loop"}
            assert names <= offered, f"{family.__name__}: {names - offered}"
    assert seen
