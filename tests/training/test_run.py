"""A run's promises: exact resumption, kills survived, refusals, and processes that agree."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orchestrion.codecs.spectral import SpectralCodecConfig
from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError
from orchestrion.objectives.reconstruction import ReconstructionConfig
from orchestrion.systems.folder import load_model
from orchestrion.training.checkpoint import load_checkpoint, save_checkpoint
from orchestrion.training.logs import means
from orchestrion.training.options import TrainOptions
from orchestrion.training.place import alone_in
from orchestrion.training.run import Run
from orchestrion.training.start import Start
from toys import shared_pair
from training.conftest import Quiet, toy_recipe

FP32 = TrainOptions(precision="fp32", device="cpu")


def train(folder, corpus, recipe, quiet, options=FP32, start=None):
    return Run(recipe, Corpus.open(corpus), folder, options, quiet, start).train()


def weights(folder: Path):
    return load_file(folder / "model" / "model.safetensors")


class StopAt(Quiet):
    """Interrupts the process after a step, as Ctrl-C would."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def step(self, step, figures):
        super().step(step, figures)
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def test_stopping_and_going_on_gives_the_same_weights_bit_for_bit(tmp_path, corpus_folder, quiet):
    train(tmp_path / "whole", corpus_folder, toy_recipe(7), quiet)
    stopped, resumed = StopAt(3), Quiet()
    train(tmp_path / "parts", corpus_folder, toy_recipe(7), stopped)
    train(tmp_path / "parts", corpus_folder, toy_recipe(7), resumed)
    assert stopped.steps == [1, 2, 3] and resumed.steps == [4, 5, 6, 7]
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert quiet.figures[-1]["log_mel"] == resumed.figures[-1]["log_mel"]


def test_training_lowers_the_loss_and_fits_the_latents(tmp_path, corpus_folder, quiet):
    train(tmp_path / "run", corpus_folder, toy_recipe(60), quiet)
    first, last = quiet.figures[0], quiet.figures[-1]
    assert last["log_magnitude"] < 0.8 * first["log_magnitude"]
    assert weights(tmp_path / "run")["codec.deviation"].std() > 0  # measured, not the ones it began with
    rows = (tmp_path / "run/stages/codec/log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "25", "50"]
    assert list((tmp_path / "run/stages/codec/demos").glob("*.png"))


def test_a_finished_run_is_not_trained_again(tmp_path, corpus_folder, quiet):
    train(tmp_path, corpus_folder, toy_recipe(3), quiet)
    again = Quiet()
    train(tmp_path, corpus_folder, toy_recipe(3), again)
    assert not again.steps


def test_a_finished_stage_made_longer_goes_on_as_if_it_had_not_stopped(tmp_path, corpus_folder, quiet):
    def recipe(steps):
        return toy_recipe(steps).override("stages.0.schedule", "constant")

    train(tmp_path / "whole", corpus_folder, recipe(7), quiet)
    train(tmp_path / "longer", corpus_folder, recipe(3), Quiet())
    more = Quiet()
    train(tmp_path / "longer", corpus_folder, recipe(7), more)
    assert more.steps == [4, 5, 6, 7] and more.said[0].startswith("stage codec has 7 steps now, not 3")
    whole, longer = weights(tmp_path / "whole"), weights(tmp_path / "longer")
    assert all(torch.equal(whole[name], longer[name]) for name in whole)  # the fitted statistics too
    again = Quiet()
    train(tmp_path / "longer", corpus_folder, recipe(7), again)
    assert not again.steps and again.said == []


def test_a_stage_that_others_stand_on_keeps_its_length(tmp_path, corpus_folder, quiet):
    first = toy_recipe(2).stages[0]
    both = dataclasses.replace(toy_recipe(2), stages=(first, dataclasses.replace(first, name="second")))
    train(tmp_path, corpus_folder, both, quiet)
    with pytest.raises(UserError, match="stage 'second', which stands on stage 'codec' as it was after 2 steps"):
        train(tmp_path, corpus_folder, both.override("stages.0.steps", "4"), quiet)
    longer = Quiet()
    train(tmp_path, corpus_folder, both.override("stages.1.steps", "4"), longer)
    assert longer.steps == [3, 4]


def test_a_stage_counts_as_finished_only_once_its_model_is_there(tmp_path, corpus_folder, quiet, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("orchestrion.training.run.save_model", killed)
        train(tmp_path, corpus_folder, toy_recipe(3), quiet)
    again = Quiet()
    train(tmp_path, corpus_folder, toy_recipe(3), again)
    assert again.steps and (tmp_path / "model/model.safetensors").exists()


def test_what_a_kill_left_half_written_is_swept(tmp_path, corpus_folder, quiet):
    train(tmp_path, corpus_folder, toy_recipe(2), quiet)
    (tmp_path / "stages/codec/.checkpoint.pt.123").write_bytes(b"half")
    (tmp_path / ".recipe.json.abc").mkdir()
    (tmp_path / ".model.abc").mkdir()
    (tmp_path / "model").rename(tmp_path / ".model.abc/old")  # killed between one move and the next
    train(tmp_path, corpus_folder, toy_recipe(2), quiet)
    assert (tmp_path / "model/config.json").exists()
    left = [path.name for path in tmp_path.rglob(".*") if path.name != ".lock"]
    assert left == []


def test_a_damaged_recipe_is_named(tmp_path, corpus_folder, quiet):
    train(tmp_path, corpus_folder, toy_recipe(2), quiet)
    for text in ("{half", "[1]"):
        (tmp_path / "recipe.json").write_text(text)
        with pytest.raises(UserError, match=r"recipe\.json is damaged"):
            train(tmp_path, corpus_folder, toy_recipe(2), quiet)


    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(UserError, match=r"recipe\.json is damaged, or of another version .* needs the field"):
        train(tmp_path, corpus_folder, toy_recipe(2), quiet)


def test_a_kill_between_the_first_two_files_costs_nothing(tmp_path, corpus_folder, quiet):
    train(tmp_path / "run", corpus_folder, toy_recipe(2), quiet)
    for path in ("recipe.json", "model", "stages"):
        (tmp_path / "run" / path).rename(tmp_path / path)
    assert [path.name for path in (tmp_path / "run").glob("[!.]*")] == ["begun.json"]
    train(tmp_path / "run", corpus_folder, toy_recipe(2), quiet)
    assert quiet.steps == [1, 2, 1, 2]


def test_damaged_small_files_are_named_or_done_without(tmp_path, corpus_folder, quiet, monkeypatch):
    monkeypatch.setattr("orchestrion.training.run.LOG_EVERY", 1)
    train(tmp_path, corpus_folder, toy_recipe(5), StopAt(2))
    (tmp_path / "begun.json").write_text("")
    with pytest.raises(UserError, match=r"begun\.json is damaged .*: delete it to go on"):
        train(tmp_path, corpus_folder, toy_recipe(5), quiet)
    (tmp_path / "begun.json").unlink()
    log = tmp_path / "stages/codec/log.csv"
    kept = log.read_bytes()
    for step, broken in enumerate((b"\x00\xff\n1,2", kept + b"2x,1\n", kept.replace(b"\r\n2", b",9\r\n2")), 3):
        log.write_bytes(broken)
        train(tmp_path, corpus_folder, toy_recipe(5), report := StopAt(step))
        assert report.steps == [step] and log.read_text().splitlines()[-1].startswith(f"{step},")


def test_a_finished_stage_of_other_weights_is_named(tmp_path, corpus_folder, quiet):
    train(tmp_path, corpus_folder, toy_recipe(2), quiet)
    path = tmp_path / "stages/codec/checkpoint.pt"
    save_checkpoint(path, {**load_checkpoint(path), "average": {"nose": torch.zeros(1)}})
    with pytest.raises(UserError, match=r"stage 'codec' in .* has other weights"):
        train(tmp_path, corpus_folder, toy_recipe(2), quiet)


def test_a_closed_terminal_stops_with_everything_saved_and_nohup_goes_on(tmp_path, corpus_folder):
    class HangUp(Quiet):
        def step(self, step, figures):
            super().step(step, figures)
            if step == 2:
                os.kill(os.getpid(), signal.SIGHUP)

    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, steps in ((signal.SIG_DFL, [1, 2]), (signal.SIG_IGN, [1, 2, 3, 4])):
            signal.signal(signal.SIGHUP, handler)
            report, folder = HangUp(), tmp_path / str(len(steps))
            train(folder, corpus_folder, toy_recipe(4), report)
            assert report.steps == steps and (folder / "model/model.safetensors").exists()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_logged_means_are_over_the_steps_that_had_the_figure():
    assert means([{"loss": 1.0, "penalty": 5.0}, {"loss": 3.0}]) == {"loss": 2.0, "penalty": 5.0}


def test_max_minutes_stops_with_a_usable_model(tmp_path, corpus_folder, quiet):
    train(tmp_path, corpus_folder, toy_recipe(100_000), quiet, TrainOptions(precision="fp32", max_minutes=0.02))
    assert 0 < quiet.steps[-1] < 100_000
    assert load_checkpoint(tmp_path / "stages/codec/checkpoint.pt")["step"] == quiet.steps[-1]
    assert Start.open(str(tmp_path)).source.codec.sample_rate == 8000


SCRIPT = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from orchestrion.corpus.corpus import Corpus
from orchestrion.training.options import TrainOptions
from orchestrion.training.run import Run
from training.conftest import Quiet, toy_recipe
class Loud(Quiet):
    def step(self, step, figures):
        print(step, flush=True)
options = TrainOptions(precision="fp32", device="cpu", checkpoint_minutes={every}, processes={processes})
Run(toy_recipe({steps}), Corpus.open({corpus!r}), Path({folder!r}), options, Loud()).train()
"""


def script(tmp_path, **values) -> list[str]:
    path = tmp_path / f"train{len(list(tmp_path.iterdir()))}.py"
    path.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1]), **{k: v if isinstance(v, int | float) else
                                                                          str(v) for k, v in values.items()}))
    return [sys.executable, str(path)]


def test_a_kill_costs_no_more_than_the_steps_since_the_last_checkpoint(tmp_path, corpus_folder, quiet):
    command = script(tmp_path, every=1e-6, processes=1, steps=40, corpus=corpus_folder, folder=tmp_path / "killed")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.strip() == "12":
            process.kill()
            break
    process.wait()
    reached = load_checkpoint(tmp_path / "killed/stages/codec/checkpoint.pt")["step"]
    assert 11 <= reached < 40
    subprocess.run(command, check=True, capture_output=True)
    train(tmp_path / "whole", corpus_folder, toy_recipe(40), quiet)
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_two_processes_agree_with_one(tmp_path, corpus_folder, quiet):
    """The same global batch, each process half of it: gradients are averaged. The views of the loss are drawn
    per process, so this toy hears in mono, where there is one view."""
    one = toy_recipe(4)
    command = script(tmp_path, every=9, processes=2, steps=4, corpus=corpus_folder, folder=tmp_path / "two")
    command_text = Path(command[1]).read_text()
    mono = ".override('system.codec.channels', '1')"
    Path(command[1]).write_text(command_text.replace("toy_recipe(4)", f"toy_recipe(4){mono}"))
    corpus = mono_corpus(tmp_path)
    Path(command[1]).write_text(Path(command[1]).read_text().replace(str(corpus_folder), str(corpus)))
    subprocess.run(command, check=True, capture_output=True, timeout=400)
    train(tmp_path / "one", corpus, one.override("system.codec.channels", "1"), quiet)
    two, single = weights(tmp_path / "two"), weights(tmp_path / "one")
    start = toy_recipe().system.override("codec.channels", "1").build().state_dict()
    moved = (single["codec.up.weight"] - start["codec.up.weight"]).abs().max()
    apart = (two["codec.up.weight"] - single["codec.up.weight"]).abs().max()
    assert moved > 1e-3 and apart < 0.05 * moved


def mono_corpus(tmp_path):
    from plucks import pluck_corpus

    return pluck_corpus(tmp_path / "mono", sample_rate=8000, seconds=3.0, channels=1)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})

    def full(state, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"No space left.*the last checkpoint is intact"):
        save_checkpoint(path, {"step": 2})
    with pytest.raises(UserError, match=r"No space left.*nothing had been saved"):
        save_checkpoint(tmp_path / "first.pt", {"step": 2})
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save([1], path)
    for damaged in (b"nonsense", b"", path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"checkpoint\.pt is damaged"):
            load_checkpoint(path)


def test_nonsense_is_refused_before_anything_is_made(tmp_path, corpus_folder, quiet):
    run = tmp_path / "run"
    cases = [
        (toy_recipe().override("system.codec.sample_rate", "16000"), FP32, "prepare it with --sample-rate 16000"),
        (toy_recipe().override("stages.0.trains", "codec.nose"), FP32, "no part 'codec.nose'"),
        (toy_recipe(), TrainOptions(device="cuda:7"), "no device 'cuda:7'"),
        (toy_recipe(), TrainOptions(logs=("tensorbord",)), "did you mean 'tensorboard'"),
        (toy_recipe(), TrainOptions(stage="codek"), "did you mean 'codec'"),
        (toy_recipe(), TrainOptions(seed=-1), "--seed is a whole number"),
        (toy_recipe(), TrainOptions(max_minutes=float("nan")), "--max-minutes must be above zero, got nan"),
        (toy_recipe(), TrainOptions(checkpoint_minutes=0), "--checkpoint-minutes must be above zero"),
        (toy_recipe(), TrainOptions(demo_minutes=float("nan")), "--demo-minutes must be above zero"),
    ]
    for recipe, options, words in cases:
        with pytest.raises(UserError, match=words):
            train(run, corpus_folder, recipe, quiet, options)
        assert not run.exists()


def test_another_recipe_does_not_go_on_in_the_same_folder(tmp_path, corpus_folder, quiet):
    train(tmp_path / "run", corpus_folder, toy_recipe(2), quiet)
    with pytest.raises(UserError, match=r"another recipe, where stages\.0\.batch is 4 and not 3"):
        train(tmp_path / "run", corpus_folder, toy_recipe(2).override("stages.0.batch", "3"), quiet)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not a run"):
        train(tmp_path / "mine", corpus_folder, toy_recipe(2), quiet)
    with pytest.raises(UserError, match=r"letter\.txt is a file, and a run needs a folder"):
        train(tmp_path / "mine/letter.txt", corpus_folder, toy_recipe(2), quiet)


def test_a_stopped_run_says_where_and_another_seed_is_told(tmp_path, corpus_folder, quiet):
    stopped = StopAt(3)
    train(tmp_path, corpus_folder, toy_recipe(7), stopped)
    assert stopped.said[-1] == "stopped at step 3 of 7 in stage codec (1 of 1); the same command goes on"
    train(tmp_path, corpus_folder, toy_recipe(7), quiet, dataclasses.replace(FP32, seed=5))
    assert "begun with --seed 0: what is drawn from here on follows from 5" in quiet.said[0]
    assert not any("stopped" in sentence for sentence in quiet.said)


def test_a_run_goes_on_from_the_models_that_it_was_begun_with(tmp_path, corpus_folder, quiet):
    begun = dataclasses.replace(FP32, start=("piano", str(tmp_path)))
    train(tmp_path / "run", corpus_folder, toy_recipe(7), StopAt(3), begun)
    for others, said in (((), "not without --from"), (("piano",), "not --from piano: go on as it was begun")):
        with pytest.raises(UserError, match=said):
            train(tmp_path / "run", corpus_folder, toy_recipe(7), quiet, dataclasses.replace(FP32, start=others))
    train(tmp_path / "run", corpus_folder, toy_recipe(7), quiet, begun)
    assert quiet.steps == [4, 5, 6, 7]


def test_what_sickens_is_told_of_but_not_at_every_turn(tmp_path, corpus_folder, quiet, monkeypatch):
    monkeypatch.setattr("orchestrion.training.run.LOG_EVERY", 1)
    monkeypatch.setattr("orchestrion.training.run.WARN_EVERY", 3)
    monkeypatch.setattr("orchestrion.objectives.reconstruction.ReconstructionObjective.health",
                        lambda self: "it is ill")
    train(tmp_path, corpus_folder, toy_recipe(7), quiet)
    assert [said for said in quiet.said if "ill" in said] == [f"step {n}: it is ill" for n in (1, 4, 7)]


def test_two_processes_do_not_share_a_run(tmp_path, corpus_folder, quiet):
    with alone_in(tmp_path / "run"), pytest.raises(UserError, match="in use by another process"):
        train(tmp_path / "run", corpus_folder, toy_recipe(2), quiet)
    assert not (tmp_path / "run/recipe.json").exists()
    train(tmp_path / "run", corpus_folder, toy_recipe(2), quiet)  # free again


def test_a_stop_while_latents_are_made_keeps_them(tmp_path, quiet):
    from orchestrion.generators.flow import DiTConfig, FlowConfig
    from orchestrion.objectives.flow_matching import FlowMatchingConfig
    from orchestrion.systems.system import Recipe, Stage, SystemConfig
    from plucks import pluck_corpus

    corpus = pluck_corpus(tmp_path / "corpus", sample_rate=8000, seconds=3.0)
    pieces = len(Corpus.open(corpus).split("train"))
    net = DiTConfig(width=16, depth=1, heads=1)
    flow = Stage(name="flow", trains="generator", on="latents", objective=FlowMatchingConfig(), crop=0.4, batch=4,
                 steps=2)
    recipe = Recipe(system=SystemConfig(codec=toy_recipe().system.codec,
                                        generator=FlowConfig(net=net, context=32, overlap=8)), stages=(flow,))

    class StopFirst(Quiet):
        def encoding(self, share):
            super().encoding(share)
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = StopFirst()
    train(tmp_path / "run", corpus, recipe, stopped)
    assert not (tmp_path / "run/model").exists()
    share = f"{1 / pieces:.0%}"
    assert pieces > 1 and stopped.said[-1].startswith(f"stopped with {share} of the latents made for stage flow")
    assert stopped.said.count(f"latents {share}") == 1 and not stopped.steps
    train(tmp_path / "run", corpus, recipe, quiet)
    assert quiet.said[0] == f"latents {2 / pieces:.0%}" and quiet.steps == [1, 2]


def test_until_its_generator_is_trained_a_model_is_its_codec(tmp_path, corpus_folder, quiet):
    from orchestrion.generators.flow import DiTConfig, FlowConfig
    from orchestrion.objectives.flow_matching import FlowMatchingConfig
    from orchestrion.systems.system import Recipe, Stage, SystemConfig

    first = toy_recipe(2)
    flow = Stage(name="flow", trains="generator", on="latents", objective=FlowMatchingConfig(), crop=0.2, batch=2,
                 steps=1)
    generator = FlowConfig(net=DiTConfig(width=16, depth=1, heads=1), context=32, overlap=8)
    recipe = Recipe(system=SystemConfig(codec=first.system.codec, generator=generator), stages=(*first.stages, flow))
    train(tmp_path, corpus_folder, recipe, StopAt(1))
    alone = load_model(tmp_path / "model").system
    assert alone.generator is None and alone.codec is not None
    train(tmp_path, corpus_folder, recipe, quiet)
    assert load_model(tmp_path / "model").system.generator is not None


def test_a_loss_that_is_no_number_ends_the_run_in_a_sentence(tmp_path, corpus_folder, quiet):
    recipe = toy_recipe(30, ReconstructionConfig(windows=(256,), mels=16, mel_window=256, log_mel=1e300))
    with pytest.raises(UserError, match="stopped being a number"):
        train(tmp_path / "run", corpus_folder, recipe, quiet)


def test_from_takes_the_codec_and_drops_its_stage(tmp_path, corpus_folder, quiet):
    from orchestrion.generators.flow import DiTConfig, FlowConfig
    from orchestrion.objectives.flow_matching import FlowMatchingConfig
    from orchestrion.systems.system import Recipe, Stage, SystemConfig

    train(tmp_path / "codec", corpus_folder, toy_recipe(20), quiet)
    flow = Stage(name="flow", trains="generator", on="latents", objective=FlowMatchingConfig(), crop=0.4, batch=4,
                 steps=3)
    both = Recipe(system=SystemConfig(codec=toy_recipe().system.codec.override("latents", "5"),
                                      generator=FlowConfig(net=DiTConfig(width=16, depth=1, heads=1), context=32,
                                                           overlap=8)),
                  stages=(*toy_recipe().stages, flow))
    start = Start.open(str(tmp_path / "codec"))
    recipe = start.adopt(both)
    assert [stage.name for stage in recipe.stages] == ["flow"]
    slow = toy_recipe().system.codec.override("frame", "200")  # half as many frames a second
    wanted = dataclasses.replace(both, system=dataclasses.replace(both.system, codec=slow))
    assert start.adopt(wanted).stages[0].crop == flow.crop / 2  # as many frames
    train(tmp_path / "flow", corpus_folder, recipe, quiet, start=start)
    before, after = weights(tmp_path / "codec"), weights(tmp_path / "flow")
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(UserError, match="stands on stage 'codec'"):
        train(tmp_path / "early", corpus_folder, both, quiet, TrainOptions(stage="flow", precision="fp32"))
    assert not (tmp_path / "early").exists()


def test_a_later_stage_alone_over_what_came_trained(tmp_path, corpus_folder, quiet):
    train(tmp_path / "codec", corpus_folder, toy_recipe(2), quiet)
    (stage,) = toy_recipe(2).stages
    two = dataclasses.replace(toy_recipe(2), stages=(stage, dataclasses.replace(stage, name="second")))
    start, alone = Start.open(str(tmp_path / "codec")), TrainOptions(stage="second", precision="fp32")
    with pytest.raises(UserError, match="stands on stage 'codec'"):
        train(tmp_path / "early", corpus_folder, two, quiet, alone)
    train(tmp_path / "further", corpus_folder, start.adopt(two), quiet, alone, start=start)
    assert [path.name for path in (tmp_path / "further" / "stages").iterdir()] == ["second"]
    before, after = weights(tmp_path / "codec"), weights(tmp_path / "further")
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)
    assert all((before[name].float() - after[name].float()).abs().max() < 0.1 for name in before)


def test_a_codec_trained_further_is_saved_as_one_of_its_own(tmp_path, corpus_folder, quiet, monkeypatch):
    train(tmp_path / "run", corpus_folder, toy_recipe(2), quiet)
    (tmp_path / "run" / "model").rename(tmp_path / "codec")
    assert Start.open(str(tmp_path / "codec")).codec is None  # a generator over it takes it along
    monkeypatch.setattr("orchestrion.training.start.bundled_models", lambda: {"codec": tmp_path / "codec"})
    start = Start.open(str(tmp_path / "codec"))
    assert start.codec is not None  # a generator over it would name it
    train(tmp_path / "further", corpus_folder, start.adopt(toy_recipe(3)), quiet, start=start)
    before = load_file(tmp_path / "codec" / "model.safetensors")
    after = weights(tmp_path / "further")
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)


def test_a_new_decoder_over_an_encoder_that_stays(tmp_path, corpus_folder, quiet):
    """Of another window and width: begun from the corpus, trained, and all but it left as it came."""
    codec = SpectralCodecConfig(sample_rate=8000, channels=1, latents=8, size=256, hop=64, width=16, depth=2,
                                deep_width=16, deep_depth=1, phase_bins=32)
    (stage,) = toy_recipe(6).stages
    recipe = dataclasses.replace(toy_recipe(6), system=dataclasses.replace(toy_recipe().system, codec=codec))
    train(tmp_path / "codec", corpus_folder, recipe, quiet)
    start = Start.open(str(tmp_path / "codec"))

    def wanted(trains, **settings):
        system = dataclasses.replace(recipe.system, codec=dataclasses.replace(codec, **settings))
        return dataclasses.replace(recipe, system=system,
                                   stages=(dataclasses.replace(stage, trains=trains, fit=False),))

    other = wanted("codec.decoder", decoder_size=512, decoder_width=24)
    train(tmp_path / "parts", corpus_folder, other, StopAt(3), start=start)
    train(tmp_path / "parts", corpus_folder, other, quiet, start=start)
    train(tmp_path / "new", corpus_folder, other, quiet, start=start)
    before, after, parts = (weights(tmp_path / name) for name in ("codec", "new", "parts"))
    assert all(torch.equal(after[name], parts[name]) for name in after)
    kept = {name for name in before if not name.startswith("codec.decoder.")}
    assert kept and all(torch.equal(before[name], after[name]) for name in kept)
    assert after["codec.decoder.linear.weight"].shape == (2 * 257, 8)
    corpus = Corpus.open(corpus_folder)
    clip = torch.from_numpy(corpus.read(corpus.pieces[0], 0, 8000))[None]
    old, new = (codec.eval()(clip).losses["magnitude"]
                for codec in (start.source.codec, load_model(tmp_path / "new" / "model").system.codec))
    assert new < 1.2 * old
    with pytest.raises(UserError, match="no stage trains it"):
        train(tmp_path / "other", corpus_folder, wanted("codec", decoder_size=512), quiet, start=start)
    with pytest.raises(UserError, match=r"isn't of the make .*encoder"):
        train(tmp_path / "other", corpus_folder, wanted("codec.decoder", width=24), quiet, start=start)
    assert not (tmp_path / "other").exists()


def test_a_side_joins_a_mono_codec_that_stays(tmp_path, corpus_folder, quiet):
    codec = SpectralCodecConfig(sample_rate=8000, channels=1, latents=8, size=256, hop=64, width=16, depth=2,
                                deep_width=16, deep_depth=1, phase_bins=32)
    (stage,) = toy_recipe(3).stages
    recipe = dataclasses.replace(toy_recipe(3), system=dataclasses.replace(toy_recipe().system, codec=codec))
    train(tmp_path / "codec", corpus_folder, recipe, quiet)
    start = Start.open(str(tmp_path / "codec"))

    def wanted(trains, width=8):
        wide = dataclasses.replace(recipe.system, codec=dataclasses.replace(codec, channels=2, side_width=width))
        return dataclasses.replace(recipe, system=wide, stages=(dataclasses.replace(stage, trains=trains, fit=False),))

    train(tmp_path / "wide", corpus_folder, wanted("codec.decoder.side"), quiet, start=start)
    before, after = weights(tmp_path / "codec"), weights(tmp_path / "wide")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name for name in after if name not in before} == {
        f"codec.decoder.side.{part}" for part in ("widen.weight", "widen.bias", "leave.weight", "leave.bias")}
    # a decoder that is trained whole goes on from what it was
    train(tmp_path / "both", corpus_folder, wanted("codec.decoder"), quiet, start=start)
    assert torch.equal(weights(tmp_path / "both")["codec.decoder.linear.weight"], before["codec.decoder.linear.weight"])
    with pytest.raises(UserError, match=r"stages\.0\.trains=codec\.decoder\.side"):
        train(tmp_path / "other", corpus_folder, wanted("codec.encoder"), quiet, start=start)
    start = Start.open(str(tmp_path / "wide"))  # a side of another width begins anew, and one may be left out
    train(tmp_path / "wider", corpus_folder, wanted("codec.decoder.side", width=12), quiet, start=start)
    after = weights(tmp_path / "wider")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert after["codec.decoder.side.widen.weight"].shape == (12, 16)
    assert start.give(recipe.system.build()) == {"codec"}
    facts = json.loads((corpus_folder / "corpus.json").read_text())
    assert facts["channels"] == 2
    shutil.copytree(corpus_folder, tmp_path / "mono")
    (tmp_path / "mono" / "corpus.json").write_text(json.dumps(facts | {"channels": 1}))
    with pytest.raises(UserError, match="is mono"):
        train(tmp_path / "other", tmp_path / "mono", wanted("codec.decoder.side"), quiet, start=start)
    assert not (tmp_path / "other").exists()


def test_a_codec_that_lies_beside_the_start_alone_goes_into_the_new_model(tmp_path, monkeypatch):
    _, reference = shared_pair(tmp_path)
    assert Start.open(str(tmp_path / "toy")).codec is None
    monkeypatch.setattr("orchestrion.systems.shelf.BUNDLED", tmp_path)
    assert Start.open(str(tmp_path / "toy")).codec == reference


def test_a_dry_run_measures_and_writes_nothing(tmp_path, monkeypatch):
    from orchestrion.training.estimate import estimate

    monkeypatch.chdir(tmp_path)
    before = time.perf_counter()
    (found,) = estimate(toy_recipe(), 2, FP32)
    took = time.perf_counter() - before
    assert found.parameters == sum(p.numel() for p in toy_recipe().system.build().codec.parameters())
    assert 0 < found.seconds < took and found.fits and found.memory > 2**20
    assert not list(tmp_path.iterdir())
