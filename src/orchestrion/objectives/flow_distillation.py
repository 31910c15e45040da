"""Distilling a flow into one that needs few steps: each of its steps learns to land where the teacher's path leads.

    x at time i ── teacher, small steps, guided ──► x at time i + 1 ◄── one step of Euler ── student

`distillation.py`'s progressive distillation (Salimans & Ho 2022, arXiv 2202.00512) for velocities: what the student
tells at a time is no longer the velocity there but the mean one up to its next time, so it wants the very steps that it
was taught. Guidance becomes part of it (Meng et al. 2022, arXiv 2210.03142, with one scale), one evaluation a step.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from orchestrion.contracts import Batch, Conditioner, Conditioning, Generator, Parts
from orchestrion.errors import UserError
from orchestrion.objectives.distillation import MOST_STEPS
from orchestrion.objectives.flow_matching import FlowMatching, FlowMatchingConfig, VelocityModel
from orchestrion.sampling.solvers import even_times, midpoint


@runtime_checkable
class GuidedModel(VelocityModel, Protocol):
    """A generator whose velocity can be led away from what its conditioning is against."""

    def guided(self, x: Tensor, time: float, known: Tensor, keep: Tensor, conditioning: Conditioning,
               guidance: float) -> Tensor: ...


class FlowDistilConfig(FlowMatchingConfig):
    """Of `FlowMatchingConfig`, the times' `spread` is not used: the student learns at its own times, all alike."""

    steps: int = 4  # of the student
    inner: int = 2  # steps of the teacher, by the midpoint rule, for one of the student's
    shift: float = 2.0  # above 1: more of the student's steps near the noise
    cfg_scale: float = 1.0  # of the teacher's guidance, where there are prompts,
    cfg_until: float = 1.0  # at its steps that begin before this share of the way to sound

    def build(self, parts: Parts) -> "FlowDistil":
        if not isinstance(parts.generator, GuidedModel):
            raise UserError(f"a flow can be distilled so, and this is a {type(parts.generator).__name__}")
        if self.steps > MOST_STEPS:
            raise UserError(f"a student is taught to take few steps, {MOST_STEPS} at most, not {self.steps}")
        return FlowDistil(self, parts.generator, parts.conditioner)


class FlowDistil(FlowMatching):
    config: FlowDistilConfig

    def __init__(self, config: FlowDistilConfig, generator: Generator, conditioner: Conditioner | None) -> None:
        super().__init__(config, generator, conditioner)
        self.teacher = copy.deepcopy(generator).eval().requires_grad_(False)  # saved along: it is needed to go on
        self.times = even_times(config.steps, config.shift)
        self.weights = {"distil": 1.0}

    def options(self) -> dict[str, Any]:
        """Besides, its guidance must be 1, which `Start.distil` sees to."""
        return {"steps": self.config.steps, "solver": "euler", "shift": self.config.shift}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"generator": [p for p in self.generator[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        assert batch.latents is not None
        data = batch.latents
        b, _, n = data.shape
        said, keep = self.led(batch.prompts, b), self._known(b, n, data.device)
        # each clip at a step of its own, spread evenly over the batch
        places = (torch.randperm(b) + torch.randint(self.config.steps, ())) % self.config.steps
        errors = []
        for place in places.unique().tolist():
            chosen = places == place
            these = said.rows(chosen)
            these.against = said.against.rows(chosen) if said.against else None
            errors.append(self._errors(data[chosen], keep[chosen], these, place))
        yield "generator", {"distil": torch.cat(errors).mean()}

    def _errors(self, data: Tensor, keep: Tensor, said: Conditioning, place: int) -> Tensor:
        """Of the student's step from time `place`, of every frame that isn't given: `[m]`."""
        now, then = self.times[place : place + 2]
        x = torch.lerp(torch.randn_like(data), data, now)
        with torch.no_grad():
            wanted = (self.landing(x, now, then, data, keep, said) - x) / (then - now)
        made = self._velocity(x, x.new_full((1,), now), data, keep, replace(said, against=None)).float()
        return (made - wanted).square().mean(1)[~keep]

    def landing(self, x: Tensor, now: float, then: float, known: Tensor, keep: Tensor, said: Conditioning) -> Tensor:
        """Where the teacher's small steps lead from time `now` to `then`."""
        teacher, settings = self.teacher, self.config
        assert isinstance(teacher, GuidedModel)
        way = [now + (then - now) * i / settings.inner for i in range(settings.inner + 1)]

        def velocity(x: Tensor, time: float) -> Tensor:
            scale = settings.cfg_scale if time < settings.cfg_until else 1.0
            return teacher.guided(x, time, known, keep, said, scale).float()

        return midpoint(velocity, x, way, None)
