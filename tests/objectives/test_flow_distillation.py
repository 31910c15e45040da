"""A student of a flow whose path is known to its teacher exactly."""

import pytest
import torch
from torch import nn

from orchestrion.contracts import Batch, Conditioner, Conditioning, Continuous, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig, FlowOptions
from orchestrion.objectives.flow_distillation import FlowDistilConfig


class TwoPeaks(nn.Module):
    """The velocity towards data that are ±1 with a deviation of 0.2, exact, and beside it a small network that begins
    at zero. Words would shift it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.correct = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
        nn.init.zeros_(self.correct[-1].weight), nn.init.zeros_(self.correct[-1].bias)

    def forward(self, features, time, vector=None, words=None, mask=None, frames=None):
        x = features[..., :1]
        time = time.view(-1, 1, 1).expand(x.shape)
        variance = (0.2 * time) ** 2 + (1 - time) ** 2
        sign = torch.tanh(time * x / variance)  # the mean of the two peaks, by how likely each is
        data = sign + 0.2**2 * time / variance * (x - time * sign)
        noise = sign.neg() * time * (1 - time) / variance + x * (1 - time) / variance
        velocity = data - noise if vector is None else data - noise + vector[:, None]
        told = torch.cat([x, time, torch.sin(6 * time), torch.cos(6 * time), velocity], -1)
        return velocity + self.correct(told)


class Shift(Conditioner):
    fills, hears, width = frozenset({"vector"}), frozenset({"shift"}), 1

    def forward(self, prompts):
        return Conditioning(vector=torch.tensor([[prompt.attributes.get("shift", 0.0)] for prompt in prompts]))


class Parts:
    codec = None

    def __init__(self, conditioner=None):
        self.conditioner = conditioner
        config = FlowConfig(net=DiTConfig(width=8, depth=1, heads=1), context=8192, overlap=16)
        self.generator = config.build(Continuous(1, 10.0), conditioner)
        self.generator.net = TwoPeaks()


def test_a_student_lands_in_few_steps_where_its_teacher_needs_many():
    parts = Parts()
    generator = parts.generator
    exact = generator.sample(1024, Conditioning(), [0], FlowOptions(steps=64, solver="heun"))

    def error(steps, solver):
        made = generator.sample(1024, Conditioning(), [0], FlowOptions(steps=steps, solver=solver))
        return (made - exact).square().mean().sqrt().item()

    before, better = error(4, "euler"), error(4, "adams")
    objective = FlowDistilConfig(beginnings=0.0, spans=0.0).build(parts)
    assert objective.options() == {"steps": 4, "solver": "euler", "shift": 2.0}
    optimiser = torch.optim.Adam(objective.groups()["generator"], 1e-2, betas=(0.9, 0.99))
    torch.manual_seed(1)
    for step in range(300):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * (1 - step / 300)
        data = torch.where(torch.rand(64, 1, 64) < 0.5, 1.0, -1.0) + 0.2 * torch.randn(64, 1, 64)
        ((_, losses),) = objective.losses(Batch(latents=data), step)
        optimiser.zero_grad()
        losses["distil"].backward()
        optimiser.step()
    after = error(4, "euler")
    print(f"4 steps: {before:.3f} (adams {better:.3f}) -> {after:.3f}")
    assert after < 0.5 * min(before, better)


def test_guidance_becomes_the_students_own_where_the_teacher_is_guided():
    parts = Parts(Shift())
    x, keep = torch.randn(2, 1, 6), torch.zeros(2, 6, dtype=torch.bool)
    said = Shift().guided([Prompt(attributes={"shift": 0.5}), Prompt()])

    def landed(now, then, **settings):
        return FlowDistilConfig(inner=1, **settings).build(parts).landing(x, now, then, x, keep, said)

    plain, led = landed(0.0, 0.1), landed(0.0, 0.1, cfg_scale=3.0)
    assert torch.allclose(led[1], plain[1]) and (led[0] - plain[0]).mean() == pytest.approx(0.1, rel=0.2)
    assert torch.equal(landed(0.6, 1.0), landed(0.6, 1.0, cfg_scale=3.0, cfg_until=0.5))


def test_what_can_not_be_taught_is_refused():
    with pytest.raises(UserError, match="1000 at most"):
        FlowDistilConfig(steps=2000).build(Parts())
    parts = Parts()
    parts.generator = nn.Linear(1, 1)
    with pytest.raises(UserError, match="Linear"):
        FlowDistilConfig().build(parts)
