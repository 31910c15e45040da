"""The result as data: whole through JSON, and refused where it is not what it says."""

import json

import pytest

from orchestrion.errors import UserError
from orchestrion.evaluation.scoreboard import (
    Contender,
    Cost,
    Curve,
    Kind,
    Measured,
    MetricInfo,
    Scoreboard,
    ShownClip,
    read_scoreboard,
    write_scoreboard,
)


def board() -> Scoreboard:
    real = Contender("real", Kind.REAL, 32, (Measured("KAD", 0.1, -0.2, 0.4),),
                     (ShownClip("song 1", "clips/real/0.flac", "clips/real/0.png"),))
    model = Contender("piano", Kind.MODEL, 32, (Measured("KAD", 1.5, 1.2, 1.9, "too few clips"),),
                      source="piano-flow", sha256="ab", cost=Cost(1_000, 12.5, 0.3, 1e9, 22.0),
                      curves=(Curve("flow", "velocity", (0, 100), (1.0, 0.5)),))
    metrics = (MetricInfo("KAD", "x 100", "lower", "likeness"),)
    return Scoreboard("a board", "corpus", "2026-11-22", "a machine", metrics,
                      (real, model), ("orchestrion compare piano",), {"clips": "32"})


def test_a_board_comes_back_from_json_as_it_was(tmp_path):
    path = write_scoreboard(board(), tmp_path / "new" / "scoreboard.json")
    assert read_scoreboard(path) == board()


def test_contenders_and_figures_are_found_by_kind_and_name():
    made = board()
    assert [c.name for c in made.of_kind(Kind.MODEL)] == ["piano"]
    assert made.real_figure("KAD").value == 0.1 and made.real_figure("FAD") is None
    assert made.contenders[1].figure("KAD").warning and made.groups == ["likeness"]
    assert [kind for kind in Kind if kind.is_floor] == [Kind.SHUFFLED, Kind.UNTRAINED, Kind.NOISE, Kind.SILENCE]


def test_a_number_that_is_not_finite_is_never_written(tmp_path):
    bad = Contender("x", Kind.MODEL, 1, (Measured("KAD", float("nan")),))
    with pytest.raises(ValueError):
        write_scoreboard(Scoreboard("", "", "", "", (), (bad,)), tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize(("change", "words"), [
    (lambda d: d.update(format_version=99), "newer"),
    (lambda d: d.update(surprise=1), "damaged"),
    (lambda d: d["contenders"][0].update(kind="dream"), "damaged"),
    (lambda d: d.pop("format_version"), "no scoreboard"),
])
def test_what_is_no_scoreboard_is_refused(tmp_path, change, words):
    path = write_scoreboard(board(), tmp_path / "s.json")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=words):
        read_scoreboard(path)
    with pytest.raises(UserError, match="orchestrion compare"):
        read_scoreboard(tmp_path / "none.json")
