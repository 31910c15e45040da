"""The race's own arithmetic: who is told to be ahead, by how much, and what may not pass."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from contest import PAIRS
from contest.environment import Environment
from contest.figures import ratio
from contest.pair import FLOAT, HALF, OURS, THEIRS, find_pair
from race import rows


def test_a_ratio_is_the_median_over_pairs_and_its_interval_holds_it():
    even = ratio([2.0] * 5, [1.0] * 5)
    assert (even.value, even.low, even.high) == (2, 2, 2)
    mixed = ratio([1.0, 2.0, 3.0, 4.0, 9.0], [1.0] * 5)
    assert mixed.value == 3 and mixed.low < 3 < mixed.high and mixed.low >= 1 and mixed.high <= 9
    slow_round = ratio([10.0, 1.0, 1.0], [5.0, 0.5, 0.5])  # a round in which the machine was busy: both are slow
    assert (slow_round.value, slow_round.low) == (2, 2)


def kept(ours: float, shipped: float = 4.0, equal: float = 2.0, pair: str = "rave") -> dict:
    """A result of three rounds: seconds of ours in bfloat16 and float32, of theirs in float32 and bfloat16."""
    times = {}
    for task in find_pair(pair).tasks:
        for name, seconds in ((f"{THEIRS} {task} {FLOAT}", shipped), (f"{THEIRS} {task} {HALF}", equal),
                              (f"{OURS} {task} {FLOAT}", shipped), (f"{OURS} {task} {HALF}", ours)):
            times[name] = {"cpu": [seconds] * 3, "wall": [9.0] * 3}
    operations = {f"{task} {precision}": {HALF: 1e11} for task in find_pair(pair).tasks for precision in (FLOAT, HALF)}
    return {"pair": pair, "threads": 1, "times": times, "operations": operations, "copy": 1e10,
            "matmul": {FLOAT: 1e11, HALF: 2e11}}


def half_rows(found: dict) -> dict:
    return {row["task"]: row for row in rows(found) if row["precision"] == HALF}


def test_a_system_slower_than_its_peer_fails_and_a_faster_one_holds():
    fast, slow = half_rows(kept(ours=1.0)), half_rows(kept(ours=2.2))
    assert fast["decode"]["shipped"].value == 4 and fast["decode"]["equal"].value == 2
    assert fast["decode"]["verdict"] == fast["encode"]["verdict"] == "holds"
    assert slow["encode"]["verdict"] == "FAIL"


def test_generation_must_be_three_times_the_peer_as_shipped():
    between = half_rows(kept(ours=1.5))
    assert between["encode"]["verdict"] == "holds" and between["decode"]["verdict"] == "FAIL"


def test_the_share_of_the_limit_is_operations_over_the_ceiling():
    assert half_rows(kept(ours=1.0))["decode"]["limit"] == pytest.approx(0.5)


def test_another_network_is_only_compared_and_not_judged():
    assert all(row["verdict"] == "" for row in rows(kept(ours=50.0, pair="dac")))


@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_has_what_the_race_asks_of_it(name):
    pair = find_pair(name)
    assert pair.shipped in pair.builders[THEIRS] and set(pair.builders[OURS]) <= {FLOAT, HALF}
    assert set(pair.times or {}) <= set(pair.tasks) and all(seconds > 0 for seconds in pair.tasks.values())
    assert "orchestrion" not in " ".join(pair.environment.packages)


def test_an_environment_is_made_once_goes_on_after_a_failure_and_follows_its_list(tmp_path, monkeypatch):
    from contest import environment

    ran: list[list[str]] = []
    broken = [True]

    def attempt(command: list[str]) -> None:
        if "install" in command and broken:
            raise OSError("no network")
        ran.append(command)
        if "venv" in command:
            (tmp_path / "toy" / "bin").mkdir(parents=True)
            (tmp_path / "toy" / "bin" / "python").touch()

    monkeypatch.setattr(environment, "attempt", attempt)
    toy = Environment("toy", ("torch==TORCH", "peer==1"))
    with pytest.raises(OSError):
        toy.prepare(tmp_path, "2.0")
    broken.clear()
    toy.prepare(tmp_path, "2.0")
    assert [command[2] for command in ran] == ["venv", "pip"] and ran[1][-2:] == ["torch==2.0", "peer==1"]
    toy.prepare(tmp_path, "2.0")
    assert len(ran) == 2
    Environment("toy", ("torch==TORCH", "peer==2")).prepare(tmp_path, "2.0")
    assert len(ran) == 3 and ran[2][-1] == "peer==2"
