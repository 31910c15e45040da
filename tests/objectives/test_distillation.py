"""A student against the exact solution, which its teacher knows in closed form."""

import pytest
import torch
from torch import nn

from orchestrion.contracts import Batch, Conditioner, Conditioning, Continuous, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionConfig, DiffusionOptions
from orchestrion.nn.denoiser import Denoiser, DenoiserConfig
from orchestrion.objectives.distillation import DistilConfig, step_between
from orchestrion.sampling.diffusion import ddim
from orchestrion.sampling.paths import Angle
from orchestrion.sampling.schedules import Schedule


class TwoPeaksConfig(DenoiserConfig):
    def build(self, space, conditioner):
        return TwoPeaks()


class TwoPeaks(Denoiser):
    """v of data that are ±1 with a deviation of 0.2, exact, and beside it a small network that begins at zero."""

    accepts = frozenset({"vector"})

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.correct = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
        nn.init.zeros_(self.correct[-1].weight), nn.init.zeros_(self.correct[-1].bias)

    def forward(self, x, time, conditioning):
        time = time.view(-1, 1, 1).expand(x.shape)
        alpha, sigma = torch.cos(time * torch.pi / 2), torch.sin(time * torch.pi / 2)
        variance = (0.2 * alpha) ** 2 + sigma**2
        sign = torch.tanh(alpha * x / variance)  # the mean of the two peaks, by how likely each is
        data = sign + 0.2**2 * alpha / variance * (x - alpha * sign)
        v = (alpha * x - data) / sigma.clamp_min(1e-4)
        told = torch.stack([x, time, torch.sin(6 * time), torch.cos(6 * time), v], -1)
        if conditioning.vector is not None:
            v = v + conditioning.vector[..., None]
        return v + self.correct(told)[..., 0]


class Parts:
    codec = conditioner = None

    def __init__(self, conditioner=None):
        self.conditioner = conditioner
        self.generator = DiffusionConfig(net=TwoPeaksConfig(), context=64, overlap=16).build(
            Continuous(1, 10.0), conditioner)


def test_the_data_and_noise_of_a_step_give_that_step():
    path = Angle()
    now, then, x, wanted = path.level(1.0), path.level(0.75), torch.randn(3, 1, 8), torch.randn(3, 1, 8)
    for levels in ((now, then), (then, path.level(0.5)), (then, path.level(0.0))):
        made = step_between(x, wanted, *levels)
        schedule = Schedule(path, levels)
        assert torch.allclose(ddim(lambda *_: made, x, schedule, lambda: x), wanted, atol=1e-5)  # noqa: B023


def test_a_student_lands_in_few_steps_where_its_teacher_needs_many():
    parts = Parts()
    generator = parts.generator
    exact = generator.sample(1024, Conditioning(), [0], DiffusionOptions(steps=64, solver="heun"))

    def error(steps):
        made = generator.sample(1024, Conditioning(), [0], DiffusionOptions(steps=steps, solver="ddim"))
        return (made - exact).square().mean().sqrt().item()

    generator.config = DiffusionConfig(net=TwoPeaksConfig(), context=8192, overlap=16)  # no windows
    before, twice = error(4), error(8)
    objective = DistilConfig(steps=4, inner=2).build(parts)
    optimiser = torch.optim.Adam(objective.groups()["generator"], 1e-2, betas=(0.9, 0.99))
    torch.manual_seed(1)
    for step in range(300):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * (1 - step / 300)
        data = torch.randn(8, 1, 128).sign() + 0.2 * torch.randn(8, 1, 128)
        _, losses = next(objective.losses(Batch(latents=data), step))
        optimiser.zero_grad()
        losses["distil"].backward()
        optimiser.step()
    after = error(4)
    print(f"4 steps: {before:.3f} -> {after:.3f}; 8 without: {twice:.3f}")
    assert after < 0.5 * before
    assert objective.options()["steps"] == 4


class Pushes(Conditioner):
    fills, width = frozenset({"vector"}), 1

    def forward(self, prompts):
        return Conditioning(vector=torch.tensor([[p.attributes.get("push", 0.0)] for p in prompts]))


def test_guidance_becomes_the_students_own_and_the_teacher_stays_as_it_was():
    parts = Parts(Pushes())
    plain, led = (DistilConfig(steps=2, inner=1, cfg_scale=scale).build(parts) for scale in (1.0, 3.0))
    x = torch.randn(2, 1, 16)
    said = parts.conditioner([Prompt(attributes={"push": 0.1}), Prompt()])
    now, then = plain.schedule.levels[1:]
    one, three = (objective.landing(x, now, then, said) for objective in (plain, led))
    assert torch.allclose(one[1], three[1], atol=1e-6) and not torch.allclose(one[0], three[0], atol=1e-2)
    with torch.no_grad():
        for parameter in parts.generator.parameters():
            parameter.add_(0.1)
    assert torch.equal(plain.landing(x, now, then, said), one)


def test_what_can_not_be_taught_is_refused():
    with pytest.raises(UserError, match="1 or more"):
        DistilConfig(steps=0).build(Parts())
    parts = Parts()
    parts.generator = nn.Identity()
    with pytest.raises(UserError, match="distilled"):
        DistilConfig().build(parts)
