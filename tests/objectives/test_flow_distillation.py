"""A student of a flow whose path is known to its teacher exactly."""

import pytest
import torch
from torch import nn

from flow_toys import Parts, Shift, peaks
from orchestrion.contracts import Batch, Conditioning, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import FlowOptions
from orchestrion.objectives.flow_distillation import FlowDistilConfig


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
        ((_, losses),) = objective.losses(Batch(latents=peaks(64, 64)), step)
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
