"""A conditioner that learns along with its generator: trained, resumed, saved and loaded as one."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file

from orchestrion.audio import Audio
from orchestrion.conditioners.attributes import AttributesConfig
from orchestrion.conditioners.text import UNKNOWN, TextEncoderConfig
from orchestrion.contracts import Prompt
from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.preparing import PrepareOptions, prepare
from orchestrion.generators.flow import DiTConfig, FlowConfig
from orchestrion.objectives.flow_distillation import FlowDistilConfig
from orchestrion.objectives.flow_matching import FlowMatchingConfig
from orchestrion.playing.model import Model
from orchestrion.systems.system import Recipe, Stage, SystemConfig
from orchestrion.training.options import TrainOptions
from orchestrion.training.run import Run
from orchestrion.training.start import Start
from plucks import pluck_corpus
from toys import ToyCodecConfig, toy_model_folder
from training.conftest import Quiet

FP32 = TrainOptions(precision="fp32", device="cpu", demo_minutes=1e9)
TEXT = TextEncoderConfig(width=16, depth=1, heads=2, vocabulary=64)


GUIDE = DiTConfig(width=4, depth=1, heads=1)


def recipe(steps, conditioner=TEXT, along=("conditioner",), guide=None, trains="generator"):
    flow = FlowConfig(net=DiTConfig(width=16, depth=1, heads=2), guide=guide, context=16, overlap=4)
    stage = Stage(name="flow", trains=trains, along=along, on="latents", objective=FlowMatchingConfig(), crop=0.2,
                  batch=4, steps=steps, warmup=1)
    return Recipe(system=SystemConfig(codec=ToyCodecConfig(), conditioner=conditioner, generator=flow), stages=(stage,))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return Corpus.open(pluck_corpus(tmp_path_factory.mktemp("text") / "corpus", sample_rate=8000, seconds=2.0))


@pytest.fixture
def no_demos(monkeypatch):
    """Demo clips and pictures take most of the time of so short a run."""
    monkeypatch.setattr("orchestrion.training.run.write_demo", lambda *_: None)


class StopAt(Quiet):
    def step(self, step, figures):
        super().step(step, figures)
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)


def test_stopped_and_resumed_equals_whole_tokeniser_and_all(tmp_path, corpus, no_demos):
    Run(recipe(4), corpus, tmp_path / "whole", FP32, Quiet()).train()
    for report in (StopAt(), Quiet()):
        Run(recipe(4), corpus, tmp_path / "parts", FP32, report).train()
    whole, parts = (load_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "parts"))
    assert len(whole["conditioner._extra_state"]) > 0
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    fresh = recipe(4).system.build().state_dict()
    moved = [name for name in whole if name.startswith("conditioner.layers") and name.endswith("linear1.weight")]
    assert moved and not any(torch.equal(whole[name], fresh[name]) for name in moved)


def test_a_running_run_is_heard_and_plays(tmp_path, corpus, no_demos):
    """At every demo the averaged weights become the run's model; what is trained stays as it would be without."""
    class Listening(Quiet):
        def step(self, step, figures):
            super().step(step, figures)
            if step == 3:  # the model of step 2
                model = Model.load(tmp_path / "heard" / "model", device="cpu", dtype="float32")
                assert model.about.training["last stage"] == "flow, step 2 of 4"
                assert model.generate("plucked", 0.3, options={"steps": 1}).samples.isfinite().all()
                heard.append(step)

    heard: list[int] = []
    often = TrainOptions(precision="fp32", device="cpu", demo_minutes=1e-9)
    for name, options, report in (("heard", often, Listening()), ("whole", FP32, Quiet())):
        Run(recipe(4), corpus, tmp_path / name, options, report).train()
    ours, whole = (load_file(tmp_path / name / "model/model.safetensors") for name in ("heard", "whole"))
    assert heard == [3] and all(torch.equal(whole[name], ours[name]) for name in whole)


def test_a_trained_model_takes_prompts(tmp_path, corpus):
    folder = Run(recipe(2), corpus, tmp_path / "run", FP32, Quiet()).train()
    model = Model.load(folder, device="cpu", dtype="float32")
    assert model.system.conditioner.read("plucked strings") == [1, 3, 4]
    clips = [model.generate(prompt, duration=0.3, seed=1, options={"steps": 2})
             for prompt in ("plucked strings", "", "zyx", Prompt("strings", negative="plucked"))]
    assert all(clip.samples.isfinite().all() and clip.samples.shape[1] == 2400 for clip in clips)
    assert clips[0].provenance["prompt"] == {"text": "plucked strings"}


def test_from_a_codec_the_conditioner_still_learns_its_words(tmp_path, corpus, no_demos):
    toy_model_folder(tmp_path / "toy")
    start = Start.open(str(tmp_path / "toy"))
    folder = Run(start.adopt(recipe(1)), corpus, tmp_path / "run", FP32, Quiet(), start).train()
    assert Start.open(str(folder)).source.conditioner.tokeniser is not None


def test_fine_tuning_keeps_the_words_it_knows(tmp_path, corpus, no_demos):
    folder = Run(recipe(1), corpus, tmp_path / "run", FP32, Quiet()).train()
    start = Start.open(str(folder))
    start.source.conditioner.fit([Prompt(text="other words")])
    system = start.adopt(recipe(1)).system.build()
    assert start.give(system) == {"codec", "conditioner", "generator"}
    assert torch.equal(system.conditioner.get_extra_state(), start.source.conditioner.get_extra_state())


def test_fine_tuning_learns_the_words_of_the_new_corpus(tmp_path, corpus, no_demos):
    folder = Run(recipe(1), corpus, tmp_path / "run", FP32, Quiet()).train()
    start = Start.open(str(folder))
    start.source.conditioner.fit([Prompt(text="other words")])
    for report in (StopAt(), Quiet()):
        tuned = Run(start.adopt(recipe(3)), corpus, tmp_path / "tuned", FP32, report, start).train()
    words = Start.open(str(tuned)).source.conditioner
    assert words.read("other words plucked strings") == [1, 3, 4, 5, 6]


def test_a_folder_of_everyday_sounds_from_end_to_end(tmp_path, no_demos):
    """Beyond music: sounds and a table of captions, prepared, trained on, asked for in their own words."""
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    lines = ["file_name,caption_1,caption_2"]
    for number, said in enumerate(("a dog barks", "heavy rain", "a telephone rings", "wind in the trees")):
        noise = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(number))
        Audio(noise, 8000).write(sounds / f"{number}.wav")
        lines.append(f"{number}.wav,{said},the sound of {said}")
    (sounds / "captions.csv").write_text("\n".join(lines) + "\n")
    with ThreadPoolExecutor(1) as executor:
        prepare(str(sounds), tmp_path / "corpus", PrepareOptions(sample_rate=8000), executor=executor)
    heard = Corpus.open(tmp_path / "corpus")
    assert len(heard.pieces) == 4 and all("\n" in piece.facts["caption"] for piece in heard.pieces)
    folder = Run(recipe(2), heard, tmp_path / "run", FP32, Quiet()).train()
    model = Model.load(folder, device="cpu", dtype="float32")
    trained = {piece.facts["caption"].split("\n")[0] for piece in heard.split("train")}
    assert trained and all(UNKNOWN not in model.system.conditioner.read(said) for said in trained)
    clips = [model.generate(said, 0.3, seed=1, options={"steps": 2}).samples for said in sorted(trained)]
    assert all(clip.shape == (2, 2400) and clip.isfinite().all() for clip in clips)


def test_numbers_are_measured_again_on_resuming(tmp_path, corpus, no_demos):
    numbers = recipe(4, AttributesConfig(names=("tempo",)), along=())
    for report in (StopAt(), Quiet()):
        folder = Run(numbers, corpus, tmp_path / "run", FP32, report).train()
    assert Start.open(str(folder)).source.conditioner.mean.item() == 240


def test_a_guide_joins_a_flow_that_is_trained(tmp_path, corpus, no_demos):
    Run(recipe(2), corpus, tmp_path / "alone", FP32, Quiet()).train()
    start = Start.open(str(tmp_path / "alone"))
    guided = start.adopt(recipe(2, guide=GUIDE, along=(), trains="generator.guide"))
    folder = Run(guided, corpus, tmp_path / "guided", FP32, Quiet(), start).train()
    first, second = (load_file(tmp_path / name / "model/model.safetensors") for name in ("alone", "guided"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    fresh = guided.system.build().generator.guide.state_dict()
    more = {name: second[name] for name in second.keys() - first.keys()}
    assert more.keys() == {f"generator.guide.{name}" for name in fresh}
    assert not torch.equal(more["generator.guide.enter.weight"], fresh["enter.weight"])
    model = Model.load(folder, device="cpu", dtype="float32")
    led, plain = (model.generate("bright", 0.5, 1, {"guide_scale": scale}).samples for scale in (None, 1))
    assert led.shape == plain.shape and not torch.equal(led, plain)


@pytest.mark.parametrize("guide", [None, GUIDE])
def test_a_student_begins_with_its_teacher_and_takes_its_guidance_in(guide, tmp_path, corpus, no_demos):
    """Weights and words are the teacher's, the guidance that it is sampled with becomes the student's lesson, and is
    then 1; nothing but the generator is trained, and a guide stays behind."""
    Run(recipe(2, guide=guide), corpus, tmp_path / "teacher", FP32, Quiet()).train()
    start = Start.open(str(tmp_path / "teacher"))
    student = start.distil(start.adopt(recipe(4)), 2)
    (stage,) = student.stages
    assert stage.steps == 1 and isinstance(stage.objective, FlowDistilConfig)
    assert (stage.objective.steps, stage.objective.cfg_scale, stage.objective.cfg_until) == (2, 3.0, 0.5)
    Run(student, corpus, tmp_path / "student", FP32, Quiet(), start).train()
    first, second = (load_file(tmp_path / name / "model/model.safetensors") for name in ("teacher", "student"))
    first = {name: weight for name, weight in first.items() if not name.startswith("generator.guide.")}
    assert first.keys() == second.keys()
    moved = {name.partition(".")[0] for name in first if not torch.equal(first[name], second[name])}
    assert moved == {"generator"}
    assert all((first[name] - second[name]).abs().max() < 0.01 for name in first if name.startswith("generator."))
    model = Model.load(str(tmp_path / "student/model"))
    assert model.system.generator.config.guidance == 1 and model.options({}).steps == 2
    plain, led = (model.generate(Prompt("bright", negative=negative), 0.5) for negative in (None, "dark"))
    assert plain.samples.shape == led.samples.shape
