"""HiFi-GAN learns one clip, critics and all, and what it is scored by."""

import dataclasses

import pytest
import torch
from overfitting import one_clip

from orchestrion.contracts import Batch
from orchestrion.errors import UserError
from orchestrion.nn.discriminators import squares_critic, squares_generator
from orchestrion.objectives.hifigan import HifiGanObjectiveConfig, features_apart
from orchestrion.systems.system import find_system
from orchestrion.training.loop import Loop
from orchestrion.training.options import TrainOptions, make_fabric


class OneClip:
    def __init__(self, clip):
        self.clip = clip

    def batch(self, step, size):
        return Batch(audio=self.clip.expand(size, -1, -1))


@pytest.mark.slow
def test_overfits_one_clip():
    """The mel distance falls to a third of an untrained vocoder's, the critics joining towards the end."""
    recipe = find_system("hifigan").recipe("nano")
    (stage,) = recipe.stages
    critics = dataclasses.replace(stage.objective.critics, start=280, every=2)
    stage = dataclasses.replace(stage, objective=dataclasses.replace(stage.objective, critics=critics), steps=300,
                                warmup=5, batch=1, learning_rate=1e-3)
    torch.manual_seed(0)
    system = recipe.system.build().eval()
    objective = stage.objective.build(system)
    clip = one_clip(system.codec, stage)

    def heard():
        with torch.no_grad():
            made = system.codec.decode(system.codec.encode(clip), clip.shape[-1])
        return objective.distance(clip, made).item(), made

    before, _ = heard()
    loop = Loop(make_fabric(TrainOptions(device="cpu", precision="fp32")), stage, system.part(stage.trains), objective)
    loop.run(OneClip(clip), 300, lambda _: True)
    system.eval()
    after, made = heard()
    print(f"hifigan: mel distance {before:.2f} -> {after:.2f}, level {(made.std() / clip.std()).item():.2f}")
    assert after < before / 3


def test_least_squares_by_hand():
    real, made = [[torch.zeros(3), torch.tensor([1.0, 0.5])]], [[torch.ones(3), torch.tensor([0.0, 1.0])]]
    assert squares_critic(real, made).item() == pytest.approx(0.125 + 0.5)
    assert squares_generator(made).item() == pytest.approx(0.5)
    assert features_apart(real, made).item() == pytest.approx(1 + 0.75)


def test_critics_join_when_they_are_to():
    system = find_system("hifigan").recipe("nano").system.build()
    config = find_system("hifigan").recipe("nano").stages[0].objective
    objective = type(config)(critics=type(config.critics)(**{**vars(config.critics), "start": 5, "every": 2}),
                             windows=(512,)).build(system)
    batch = Batch(audio=0.1 * torch.randn(1, 1, 4096))
    turns = {step: [name for name, _ in objective.losses(batch, step)] for step in (4, 5, 6)}
    assert turns == {4: ["codec"], 5: ["codec"], 6: ["critic", "codec"]}
    assert set(dict(objective.losses(batch, 4))["codec"]) == {"mel"}


def test_silence_is_told():
    system = find_system("hifigan").recipe("nano").system.build()
    objective = find_system("hifigan").recipe("nano").stages[0].objective.build(system)
    assert objective.health() is None
    objective.loudness.fill_(0.01)
    assert "silent" in objective.health()


def test_a_codec_without_a_vocoder_is_refused():
    with pytest.raises(UserError, match="has none"):
        HifiGanObjectiveConfig().build(find_system("audio-diffusion").recipe("nano").system.build())
