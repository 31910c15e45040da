"""`orchestrion prepare` as it is typed: what it prints, and what it refuses."""

import io
import re
import signal

import numpy as np
import pytest
import soundfile as sf
import typer
from typer.testing import CliRunner

from orchestrion.cli.prepare import interrupts_answered, programs, register
from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError


@pytest.fixture
def run():
    app = typer.Typer()
    register(app)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def wav(hertz: float) -> bytes:
    data = io.BytesIO()
    sf.write(data, 0.5 * np.sin(2 * np.pi * hertz * np.arange(8000) / 8000), 8000, format="WAV")
    return data.getvalue()


def test_it_says_what_it_made_and_what_it_refused(run, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for i in range(3):
        (source / f"{i}.wav").write_bytes(wav(200 + 100 * i))
    (source / "cover.jpg").write_bytes(b"\xff")
    words = ("--sample-rate", 8000, "--channels", 1, "--workers", 1, "--licence", "CC0", "--name", "tones")
    done = run(source, "-o", tmp_path / "out", *words)
    assert done.exit_code == 0, done.exception
    assert re.search(r"3 pieces \(\d train, \d validation, \d test\), 0.00 hours, made at \d+x", done.stdout)
    assert "nothing is held out of so few pieces" in done.stdout  # by their names, all three are for training
    assert "1 refused (1 not audio" in done.stdout and "rejected.jsonl" in done.stdout
    corpus = Corpus.open(tmp_path / "out")
    assert (corpus.name, corpus.licence, corpus.sample_rate) == ("tones", "CC0", 8000)
    again = run(source, "-o", tmp_path / "out", *words)
    assert "all of it made before" in again.stdout


def test_an_interrupt_is_answered_at_once():
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_answered(said.append):
        signal.raise_signal(signal.SIGINT)
    assert said == ["stopping as soon as the pieces at hand are made; the same command goes on"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_mistake_is_a_sentence(run, tmp_path):
    done = run(tmp_path / "nowhere", "-o", tmp_path / "out")
    assert isinstance(done.exception, UserError) and "there is nothing at" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_programs_are_read():
    assert programs("0,4, 11") == (0, 4, 11) and programs(None) == ()
    with pytest.raises(UserError, match="--program"):
        programs("piano")
