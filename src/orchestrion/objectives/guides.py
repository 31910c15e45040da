"""Guides: smaller networks that learn beside a generator's own, for sampling to be led away from (autoguidance:
Karras et al. 2024, arXiv 2406.02507). They learn the same, on the same batches; nothing of it reaches the others."""

from typing import Any

from torch import nn


def learners(generator: Any, name: str) -> dict[str, nn.Module]:
    """The networks that a stage trains, by the names of their losses: the generator's `net` by `name`, and its `guide`.
    """
    nets = {name: generator.net, "guide": generator.guide}
    return {name: net for name, net in nets.items()
            if net is not None and any(weight.requires_grad for weight in net.parameters())}
