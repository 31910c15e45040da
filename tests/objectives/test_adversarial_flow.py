"""A flow that becomes a GAN, whose data are known exactly: two peaks."""

import pytest
import torch
from torch import nn

from flow_toys import Parts, Shift, peaks
from orchestrion.contracts import Batch, Conditioning, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import FlowOptions
from orchestrion.objectives.adversarial_flow import AdversarialFlowConfig, unit


def taught(parts, turns, **settings):
    """The objective after so many steps. The critic learns faster than who it judges."""
    torch.manual_seed(1)
    objective = AdversarialFlowConfig(beginnings=0.0, spans=0.0, critic=(16, 16, 16, 16), **settings).build(parts)
    optimisers = {name: torch.optim.Adam(group, 3e-3 if name == "generator" else 1e-2, betas=(0.5, 0.98))
                  for name, group in objective.groups().items()}
    for step in range(turns):
        for name, terms in objective.losses(Batch(latents=peaks(32, 64)), step):
            optimisers[name].zero_grad()
            sum(objective.weights[key] * term for key, term in terms.items() if key in objective.weights).backward()
            optimisers[name].step()
    return objective


@pytest.mark.parametrize("steps", [1, 2])
def test_it_makes_both_peaks_where_the_flow_would_make_their_middle(steps):
    parts = Parts(context=64)
    options = FlowOptions(steps=steps, solver="euler")

    def off():
        made = parts.generator.sample(2048, Conditioning(), [0], options).abs()
        return (made - 1).square().mean().sqrt().item()  # 0.2 by the flow in many steps

    before = off()
    objective = taught(parts, 300, steps=steps)
    assert objective.options() == {"steps": steps, "solver": "euler", "shift": 2.0} and objective.health() is None
    made = parts.generator.sample(2048, Conditioning(), [0], options)
    print(f"{steps} steps: off {before:.3f} -> {off():.3f}, above zero {(made > 0).float().mean():.2f}")
    assert off() < 0.6 * before
    assert 0.35 < (made > 0).float().mean() < 0.65


def test_what_is_given_stays_and_has_no_part_in_the_loss():
    objective = AdversarialFlowConfig(critic=(8, 8, 8, 8)).build(Parts(context=64))
    data, keep = peaks(4, 64), torch.zeros(4, 64, dtype=torch.bool)
    keep[:, :40] = True
    made = objective.imagine(data, keep, Conditioning())
    assert torch.equal(made[..., :40], data[..., :40]) and not torch.equal(made[..., 40:], data[..., 40:])
    objective._known = lambda *_: torch.ones(4, 64, dtype=torch.bool)  # all given: nothing to learn
    terms = dict(objective.losses(Batch(latents=data), 0))
    gradients = torch.autograd.grad(terms["generator"]["way"], objective.groups()["generator"], allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_every_clip_counts_alike():
    """The gradient of a clip that the critic despises a thousand times more is no longer."""
    way = torch.randn(3, 2, 16) * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    assert torch.allclose(unit(way).square().mean((1, 2)), torch.ones(3))
    assert torch.allclose(unit(way)[1], way[1] / way[1].square().mean().sqrt())


def test_a_runaway_is_told():
    objective = AdversarialFlowConfig(critic=(8, 8, 8, 8)).build(Parts(context=64))
    assert objective.health() is None
    with torch.no_grad():
        objective.critic.leave.bias.add_(1e4)
    next(objective.losses(Batch(latents=peaks(2, 64)), 0))
    assert "run away" in objective.health()


def test_the_prompt_is_heard():
    conditioner = Shift()
    objective = AdversarialFlowConfig(critic=(8, 8, 8, 8)).build(Parts(conditioner, context=64))
    keep = torch.zeros(2, 64, dtype=torch.bool)
    torch.manual_seed(0)
    made = objective.imagine(torch.zeros(2, 1, 64), keep, conditioner([Prompt(attributes={"shift": 50.0}), Prompt()]))
    assert made[0].mean() > 20 and made[1].abs().mean() < 5


def test_what_can_not_be_taught_is_refused():
    with pytest.raises(UserError, match="few steps"):
        AdversarialFlowConfig(steps=2000).build(Parts())
    with pytest.raises(UserError, match="above 0"):
        AdversarialFlowConfig(first_shift=0.0).build(Parts())
    with pytest.raises(UserError, match="at least one level"):
        AdversarialFlowConfig(critic=()).build(Parts())
    parts = Parts()
    parts.generator = nn.Linear(1, 1)
    with pytest.raises(UserError, match="Linear"):
        AdversarialFlowConfig().build(parts)
