"""A student of few steps, whose teacher's data are known exactly: two peaks."""

import pytest
import torch
from torch import nn

from flow_toys import Parts, Shift, peaks
from orchestrion.contracts import Batch, Conditioning, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import FlowOptions
from orchestrion.objectives.distribution_matching import DistributionMatchingConfig


def taught(parts, turns, **settings):
    """The objective after so many steps. The imitator learns faster than who it imitates."""
    torch.manual_seed(1)
    objective = DistributionMatchingConfig(beginnings=0.0, spans=0.0, imitations=1, **settings).build(parts)
    optimisers = {name: torch.optim.Adam(group, 3e-3 if name == "generator" else 1e-2, betas=(0.5, 0.98))
                  for name, group in objective.groups().items()}
    for step in range(turns):
        for name, terms in objective.losses(Batch(latents=peaks(32, 64)), step):
            optimisers[name].zero_grad()
            sum(objective.weights[key] * term for key, term in terms.items()).backward()
            optimisers[name].step()
    return objective


@pytest.mark.parametrize("steps, share", [(1, 0.0), (2, 0.0), (1, 0.5)])
def test_a_student_makes_both_peaks_where_the_teacher_would_make_their_middle(steps, share):
    parts = Parts(context=64)
    options = FlowOptions(steps=steps, solver="euler")

    def off():
        made = parts.generator.sample(2048, Conditioning(), [0], options).abs()
        return (made - 1).square().mean().sqrt().item()  # 0.2 by the teacher in many steps

    before = off()
    objective = taught(parts, 300, steps=steps, share=share, critic=(8, 8, 8, 8))
    assert objective.options() == {"steps": steps, "solver": "euler", "shift": 2.0} and objective.health() is None
    made = parts.generator.sample(2048, Conditioning(), [0], options)
    print(f"{steps} steps: off {before:.3f} -> {off():.3f}, above zero {(made > 0).float().mean():.2f}")
    assert off() < 0.35 and off() < 0.6 * before
    assert 0.35 < (made > 0).float().mean() < 0.65


def test_the_imitator_takes_several_steps_to_one_of_the_students():
    objective = DistributionMatchingConfig(imitations=3, critic=(8, 8, 8, 8)).build(Parts(context=64))
    turns = [name for name, _ in objective.losses(Batch(latents=peaks(4, 64)), 0)]
    assert turns == ["imitator"] * 3 + ["critic", "generator"]


def test_what_is_given_stays_and_has_no_part_in_the_loss():
    objective = DistributionMatchingConfig(share=0.0).build(Parts())
    data, keep = peaks(4, 64), torch.zeros(4, 64, dtype=torch.bool)
    keep[:, :40] = True
    made = objective.imagine(data, keep, Conditioning())
    assert torch.equal(made[..., :40], data[..., :40]) and not torch.equal(made[..., 40:], data[..., 40:])
    way = objective._way(made.detach(), data, keep, Conditioning())
    assert (way[..., :40] == 0).all()


def test_where_student_and_teacher_agree_there_is_no_way_to_go():
    """An imitator that tells what the teacher tells, as both do at first."""
    objective = DistributionMatchingConfig(share=0.0).build(Parts())
    data, keep = peaks(4, 64), torch.zeros(4, 64, dtype=torch.bool)
    assert objective._way(data, data, keep, Conditioning()).abs().max() < 1e-4


def test_guidance_is_the_teachers_alone():
    conditioner = Shift()
    objective = DistributionMatchingConfig(share=0.0, cfg_scale=3.0, cfg_until=1.0).build(Parts(conditioner))
    data, keep = torch.zeros(2, 1, 64), torch.zeros(2, 64, dtype=torch.bool)
    said = conditioner.guided([Prompt(attributes={"shift": 0.5}), Prompt()])
    way = objective._way(data, data, keep, said)
    assert (way[0] < 0).all()  # away from less, towards more of what is asked for
    assert way[1].abs().max() < 1e-5


def test_what_can_not_be_taught_is_refused():
    with pytest.raises(UserError, match="few steps"):
        DistributionMatchingConfig(steps=2000).build(Parts())
    with pytest.raises(UserError, match="above 0"):
        DistributionMatchingConfig(first_shift=0.0).build(Parts())
    with pytest.raises(UserError, match="at least one level"):
        DistributionMatchingConfig(critic=()).build(Parts())
    parts = Parts()
    parts.generator = nn.Linear(1, 1)
    with pytest.raises(UserError, match="Linear"):
        DistributionMatchingConfig().build(parts)
