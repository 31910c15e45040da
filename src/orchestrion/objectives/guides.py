"""Guides: smaller networks that learn beside a generator's own, for sampling to be led away from (autoguidance:
Karras et al. 2024, arXiv 2406.02507). They learn the same, on the same batches; nothing of it reaches the others."""

from typing import Any

from torch import nn


def learners(generator: Any, conditioner: nn.Module | None, name: str) -> dict[str, nn.Module]:
    """The networks whose error a stage lowers, by the names of their losses: the generator's `net` by `name`, where it
    or the conditioner before it is trained, and its `guide`, where that is."""
    trained = {name: [generator.net, conditioner], "guide": [generator.guide]}
    nets = {name: generator.net, "guide": generator.guide}
    return {name: nets[name] for name, parts in trained.items()
            if any(weight.requires_grad for part in parts if part is not None for weight in part.parameters())}
