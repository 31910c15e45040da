"""`evaluate` and `compare` on the command line."""

import json
import shlex

import pytest

from orchestrion.cli import main
from orchestrion.evaluation.scoreboard import Kind, read_scoreboard
from plucks import pluck_corpus
from toys import toy_model_folder


@pytest.fixture
def orchestrion(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy_model_folder(tmp_path / "toy")

    def run(line):
        with pytest.raises(SystemExit) as caught:
            main(shlex.split(line))
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


@pytest.mark.parametrize(("line", "words"), [
    ("evaluate toy --data nowhere", "there is no corpus"),
    ("evaluate ./lost --data corpus", "no model folder"),
    ("compare toy ./toy --data corpus --clips 3", "at least 8"),
    ("compare ./toy --data corpus --embedding mrt:x", "did you mean 'mert'"),
    ("compare --data corpus", "MODEL"),
])
def test_mistakes_are_one_sentence_before_the_work(orchestrion, tmp_path, line, words):
    pluck_corpus(tmp_path / "corpus", 2, 4.0, 8000)
    code, _, err = orchestrion(line)
    assert code == 2 and words in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_evaluate_writes_the_page_and_prints_the_table(orchestrion, tmp_path):
    pluck_corpus(tmp_path / "corpus", 3, 16.0, 8000)
    code, out, _ = orchestrion("evaluate ./toy --data corpus --clips 8 --seconds 1 --no-cost --embedding log-mel "
                               "--shown 1 -o r --training-hours 0")
    assert code == 0 and "| toy |" in out and "only one piece is held out" in out
    board = read_scoreboard(tmp_path / "r" / "scoreboard.json")
    assert [c.name for c in board.of_kind(Kind.MODEL)] == ["toy"] and (tmp_path / "r" / "index.html").is_file()
    assert json.loads((tmp_path / "r" / "clips" / "toy" / "key.json").read_text())["key"]
