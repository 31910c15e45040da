"""What the benchmarks share: arguments that can't be meant, and a user's mistakes, end in a sentence."""

import argparse
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from common import count, duration, run

from orchestrion.errors import UserError


@pytest.mark.parametrize("kind, good, bad", [(count, "3", ("0", "-1", "1.5", "many", "")),
                                             (duration, "0.5", ("0", "-1", "nan", "inf", "long"))])
def test_numbers_that_cannot_be_meant_are_refused(kind, good, bad, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=kind)
    assert parser.parse_args(["--clips", good]).clips == float(good)
    for word in bad:
        with pytest.raises(SystemExit) as ended:
            parser.parse_args([f"--clips={word}"])
        assert ended.value.code == 2 and f"not {word!r}" in capsys.readouterr().err


def test_mistakes_and_missing_files_are_a_sentence_and_exit_code_2(tmp_path, capsys):
    def mistaken():
        raise UserError("there is no corpus")

    for main, says in ((mistaken, "no corpus"), ((tmp_path / "none/a.json").read_text, "a.json can't be read")):
        with pytest.raises(SystemExit) as ended:
            run(main)
        assert ended.value.code == 2 and says in capsys.readouterr().err
