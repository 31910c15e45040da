"""Loss curves and minutes out of a run's logs; what a model takes, measured in a process of its own."""

import pytest

from orchestrion.contracts import Prompt
from orchestrion.evaluation.cost import measure_cost, stated_minutes, training_minutes
from orchestrion.evaluation.curves import POINTS, loss_curves, run_of
from orchestrion.playing.model import Model
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import find_system


@pytest.fixture
def run(tmp_path):
    """Stage a: 100 steps of 0.6 s; stage b: 300 rows, a step of 0.1 s each."""
    for name, text in (("a", "step,loss,seconds\n50,2.0,0.6\n100,1.0,0.6\n"),
                       ("b", "step,mel,seconds\n" + "".join(f"{i + 1},{i},0.1\n" for i in range(300)))):
        (tmp_path / "stages" / name).mkdir(parents=True)
        (tmp_path / "stages" / name / "log.csv").write_text(text)
    (tmp_path / "recipe.json").write_text("{}")
    return tmp_path


def test_minutes_are_steps_times_seconds_over_all_stages(run):
    assert training_minutes(run) == pytest.approx((100 * 0.6 + 300 * 0.1) / 60)
    assert training_minutes(run / "stages") is None
    assert stated_minutes({"minutes": 22}) == 22 and stated_minutes({"steps": 3}) is None


def test_curves_keep_their_mean_when_they_are_thinned(run):
    curves = {curve.stage: curve for curve in loss_curves(run)}
    assert curves["a"].values == (2.0, 1.0) and curves["a"].steps == (50, 100) and curves["a"].loss == "loss"
    long = curves["b"]
    assert len(long.values) == 150 <= POINTS and long.steps[-1] == 300
    assert sum(long.values) / len(long.values) == pytest.approx(149.5)


def test_the_run_of_a_model_is_the_folder_around_it(run):
    assert run_of(str(run / "model")) == run and run_of("piano-flow") is None and run_of(str(run)) is None


@pytest.mark.slow
def test_a_models_cost_is_its_own(tmp_path):
    system = find_system("flow").recipe("nano").system.build()
    save_model(system, tmp_path / "m", About("m", licence="MIT"))
    cost = measure_cost(Model.load, str(tmp_path / "m"), Prompt(), {"steps": 1}, 3.0, seconds=2.0)
    assert cost.parameters == sum(p.numel() for p in system.parameters()) and cost.training_minutes == 3.0
    assert 0 < cost.first_sound < 60 and 2.0 / cost.realtime >= 0.99 * cost.first_sound
    assert 2**27 < cost.peak_memory < 2**32
    with pytest.raises(RuntimeError, match="could not be measured"):
        measure_cost(Model.load, str(tmp_path / "none"), Prompt(), {})
