"""Flow matching: where on the way the network is asked."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from orchestrion.contracts import Batch, Continuous
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig
from orchestrion.objectives.flow_matching import FlowMatchingConfig
from orchestrion.objectives.guides import learners


def asked(config: FlowMatchingConfig, monkeypatch) -> torch.Tensor:
    """The times of a batch of 4,000 clips."""
    net = DiTConfig(width=8, depth=1, heads=1)
    generator = FlowConfig(net=net, context=4, overlap=1).build(Continuous(channels=1, rate=1.0), None)
    times = []

    def velocity(x, time, known, keep, said=None, net=None):
        times.append(time)
        return x

    monkeypatch.setattr(generator, "velocity", velocity)
    torch.manual_seed(0)
    parts: Any = SimpleNamespace(codec=None, conditioner=None, generator=generator)
    list(config.build(parts).losses(Batch(latents=torch.zeros(4000, 1, 4)), 0))
    return times[0]


def test_a_shift_asks_nearer_to_the_noise(monkeypatch):
    """The logit of a time is normal: its median lies at 1 / (1 + shift), its deviation is the spread."""
    for shift, spread in ((1.0, 1.0), (2.5, 1.3)):
        times = asked(FlowMatchingConfig(shift=shift, spread=spread), monkeypatch)
        assert times.median().item() == pytest.approx(1 / (1 + shift), abs=0.02)
        assert torch.logit(times).std().item() == pytest.approx(spread, rel=0.05)


def test_no_shift_to_nowhere(monkeypatch):
    with pytest.raises(UserError, match="above 0"):
        asked(FlowMatchingConfig(shift=0.0), monkeypatch)


@pytest.mark.parametrize("trained", ["both", "net", "guide"])
def test_the_guide_learns_beside_the_network_and_changes_nothing_for_it(trained):
    def lesson(guide):
        torch.manual_seed(1)
        net = DiTConfig(width=8, depth=1, heads=1)
        generator: Any = FlowConfig(net=net, guide=guide, context=4, overlap=1).build(Continuous(2, 1.0), None)
        torch.manual_seed(2)
        torch.nn.init.normal_(generator.net.leave.weight)
        if trained != "both":
            generator.requires_grad_(False)
            getattr(generator, trained).requires_grad_(True)
        parts: Any = SimpleNamespace(codec=None, conditioner=None, generator=generator)
        objective = FlowMatchingConfig().build(parts)
        torch.manual_seed(3)
        (_, terms), = objective.losses(Batch(latents=torch.randn(16, 2, 4)), 0)
        sum(terms.values()).backward()
        return generator, terms

    generator, terms = lesson(DiTConfig(width=4, depth=1, heads=1))
    assert set(terms) == {"both": {"velocity", "guide"}, "net": {"velocity"}, "guide": {"guide"}}[trained]
    if "guide" in terms:
        assert generator.guide.leave.weight.grad.abs().sum() > 0
    if "velocity" in terms:
        alone, plain = lesson(None)
        assert torch.equal(plain["velocity"], terms["velocity"])
        assert torch.equal(alone.net.leave.weight.grad, generator.net.leave.weight.grad)
    else:
        assert generator.net.leave.weight.grad is None


def test_words_learn_through_a_network_that_rests():
    conditioner: Any = torch.nn.Linear(1, 1)
    generator: Any = FlowConfig(net=DiTConfig(width=8, depth=1, heads=1), guide=DiTConfig(width=4, depth=1, heads=1),
                                context=4, overlap=1).build(Continuous(2, 1.0), None)
    generator.requires_grad_(False)
    assert set(learners(generator, conditioner, "velocity")) == {"velocity"}
    assert not learners(generator, None, "velocity")
