"""Next-level prediction: how surprised an autoregressive generator is by what comes, in nats a level.

1 / log(levels) of it is the share of what there is to tell that the network could not foresee.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from orchestrion.contracts import Batch, Generator, Objective, ObjectiveConfig, Parts
from orchestrion.errors import UserError


@runtime_checkable
class Foreseeing(Protocol):
    """A generator of levels that tells, of latents `[b d n]`, the logits `[b d levels s]` of each next column, and the
    column itself `[b d s]`, `nothing` where it has nothing."""

    nothing: int

    def predicted(self, latents: Tensor) -> tuple[Tensor, Tensor]: ...


class PriorObjectiveConfig(ObjectiveConfig):
    def build(self, parts: Parts) -> "PriorObjective":
        if not isinstance(parts.generator, Foreseeing):
            raise UserError(f"this objective trains an autoregressive prior, not a {type(parts.generator).__name__}")
        return PriorObjective(parts.generator)


class PriorObjective(Objective):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = (generator,)  # in a tuple: saved elsewhere
        self.weights = {"surprise": 1.0}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"generator": [p for p in self.generator[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        generator = self.generator[0]
        assert batch.latents is not None and isinstance(generator, Foreseeing)
        logits, wanted = generator.predicted(batch.latents)
        surprise = nn.functional.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=generator.nothing)
        yield "generator", {"surprise": surprise}
