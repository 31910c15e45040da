"""`orchestrion train` from the command line: the whole way, and what it refuses."""

import io
import subprocess
import sys

import pytest

from orchestrion.cli.train import Display
from plucks import pluck_corpus
from training.conftest import toy_recipe

ORCHESTRION = [sys.executable, "-c", "from orchestrion.cli import main; main()"]
SHORT = ["--set", "stages.0.steps=2", "--set", "stages.0.batch=2", "--device", "cpu"]


def run(*words):
    return subprocess.run([*ORCHESTRION, *map(str, words)], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return pluck_corpus(tmp_path_factory.mktemp("data") / "corpus", seconds=2.0)


def test_train_then_generate(tmp_path, corpus):
    made = run("train", "flow", "--size", "nano", "--data", corpus, "-o", tmp_path / "run", *SHORT,
               "--set", "stages.1.steps=2", "--set", "stages.1.batch=2")
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == str(tmp_path / "run/model")
    played = run("generate", tmp_path / "run/model", "-d", "1", "--steps", "2", "-o", tmp_path / "a.wav")
    assert played.returncode == 0 and (tmp_path / "a.wav").stat().st_size > 44_100
    # a generator over the trained codec, with that codec's stage left out
    over = run("train", "gan", "--size", "nano", "--from", tmp_path / "run", "--data", corpus, "-o", tmp_path / "gan",
               "--set", "stages.0.steps=2", "--set", "stages.0.batch=2", "--device", "cpu")
    assert over.returncode == 0, over.stderr
    assert "stage gan: 2 steps" in over.stderr and "stage codec" not in over.stderr


def test_a_dry_run_prints_a_line_a_stage_and_writes_nothing(tmp_path, corpus):
    found = run("train", "spectral", "--size", "nano", "--data", corpus, "-o", tmp_path / "run", "--dry-run", *SHORT)
    assert found.returncode == 0 and "codec" in found.stdout and not (tmp_path / "run").exists()


@pytest.mark.parametrize(("words", "sentence"), [
    (["train", "spectrall", "--data", "CORPUS"], "did you mean 'spectral'"),
    (["train", "spectral", "--size", "tinny", "--data", "CORPUS"], "did you mean 'tiny'"),
    (["train", "spectral", "--data", "nowhere"], "there is no corpus at nowhere"),
    (["train", "spectral", "--data", "CORPUS", "--set", "stages.0.step=2"], "did you mean 'steps'"),
    (["train", "spectral", "--data", "CORPUS", "--set", "stages.0.steps=-5"], "steps must be above zero, got -5"),
    (["train", "spectral", "--data", "CORPUS", "--set", "stages.9.steps=5"], "stages has 1, counted"),
    (["train", "spectral", "--data", "CORPUS", "--set", "stages"], "takes FIELD=VALUE"),
    (["train", "spectral", "--data", "CORPUS", "--set", "system.codec.sample_rate=22050"], "--sample-rate 22050"),
    (["train", "spectral", "--data", "CORPUS", "--max-minutes", "-1"], "above zero"),
    (["train", "spectral", "--data", "CORPUS", "--max-minutes", "nan"], "above zero"),
    (["train", "spectral", "--data", "CORPUS", "--seed", "-1"], "--seed is a whole number"),
    (["train", "spectral", "--data", "CORPUS", "--stage", "codek"], "did you mean 'codec'"),
    (["train", "spectral", "--data", "CORPUS", "--log", "tensorbord"], "did you mean 'tensorboard'"),
    (["train", "flow", "--data", "CORPUS", "--from", "nothing"], "there is no model 'nothing'"),
    (["train", "spectral", "--data", "CORPUS", "-o", "/proc/run"], "can't be written"),
])
def test_nonsense_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, corpus, words, sentence):
    monkeypatch.chdir(tmp_path)
    found = run(*[corpus if word == "CORPUS" else word for word in words])
    assert found.returncode == 2 and sentence in found.stderr, found.stderr
    assert "Traceback" not in found.stderr and len(found.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_reader_that_is_gone_does_not_end_a_training(monkeypatch):
    """Ctrl-C ends the `tee` behind a pipe before the training has saved."""
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    with Display() as display:
        display.stage(toy_recipe(20).stages[0], 0)
        display.step(1, {"loss": 1.0, "seconds": 0.1})
        display.say("stopping after what is at hand")
    sys.stdout.write("")  # not closed either


def test_without_a_terminal_the_first_steps_are_told(capsys):
    with Display() as display:
        display.stage(toy_recipe(200).stages[0], 0)
        for step in range(1, 201):
            display.step(step, {"loss": 1.0, "seconds": 0.1})
    told = [line.split()[1] for line in capsys.readouterr().err.splitlines() if "steps/s" in line]
    assert told == ["1/200", "10/200", "100/200", "200/200"]
