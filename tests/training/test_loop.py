"""The optimiser's step is the same whatever the order in memory that a gradient comes in."""

import torch
from torch import nn

from orchestrion.contracts import Batch, Objective
from orchestrion.objectives.named import NamedLossesConfig
from orchestrion.systems.system import Stage
from orchestrion.training.loop import Loop, laid_out
from orchestrion.training.options import TrainOptions, make_fabric


class Squares(Objective):
    """Of a convolution of images, with channels last or not."""

    def __init__(self, part, order):
        super().__init__()
        self.parts, self.order, self.weights = (part,), order, {"squares": 1.0}

    def groups(self):
        return {"part": list(self.parts[0].parameters())}

    def losses(self, batch, step):
        made = self.parts[0](batch.audio.contiguous(memory_format=self.order))
        yield "part", {"squares": (made - torch.arange(8.0)).square().mean()}


class Images:
    def batch(self, step, size):
        return Batch(audio=torch.randn(size, 3, 8, 8, generator=torch.Generator().manual_seed(step)))


def trained(order):
    torch.manual_seed(0)
    part = nn.Conv2d(3, 4, 3, padding=1)
    stage = Stage(name="squares", trains="codec", objective=NamedLossesConfig(weights={}), batch=2, steps=20, warmup=0,
                  learning_rate=1e-2)
    loop = Loop(make_fabric(TrainOptions(device="cpu", precision="fp32")), stage, part, Squares(part, order))
    loop.run(Images(), 20, lambda _: True)
    return part.weight.detach()


def test_channels_last_trains_the_same_network():
    """AdamW's fused step pairs parameter and gradient as they lie in memory: it must not be given another order."""
    assert torch.allclose(trained(torch.channels_last), trained(torch.contiguous_format), atol=1e-5)


def test_a_copy_for_inference_follows_the_training():
    """Fused steps leave the weights' version as it was, by which such copies (`nn.half`) know that they are old."""
    from orchestrion.nn.half import HalfCopy

    torch.manual_seed(0)
    part, copies = nn.Conv2d(3, 4, 3, padding=1), HalfCopy()
    stage = Stage(name="squares", trains="codec", objective=NamedLossesConfig(weights={}), batch=2, steps=3, warmup=0,
                  learning_rate=1e-2)
    loop = Loop(make_fabric(TrainOptions(device="cpu", precision="fp32")), stage, part,
                Squares(part, torch.contiguous_format))

    before = copies.of(part).weight.clone()
    loop.run(Images(), 3, lambda _: True)
    assert torch.equal(copies.of(part).weight, part.weight.bfloat16())
    assert not torch.equal(copies.of(part).weight, before)


def test_a_gradient_is_laid_out_as_its_parameter():
    parameter, gradient = torch.zeros(4, 3, 2, 2), torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    made = laid_out(gradient, parameter)
    assert made.stride() == parameter.stride() and torch.equal(made, gradient)
    assert laid_out(None, parameter) is None and laid_out(made, parameter) is made
