"""Distilling a diffusion model into one that needs few steps: each of its steps learns to land where many of the
teacher's do.

    x at level i ── teacher, some small steps ──► x at level i + 1 ◄── one step ── student

Progressive distillation (Salimans & Ho 2022, arXiv 2202.00512, algorithm 2) in one go: instead of halving the steps
again and again, each time losing a little, the teacher takes all the small steps of one large one. The teacher is the
generator as it was when the stage began, so that any trained model can be one (`--from`); guidance becomes part of the
student, which then needs one evaluation a step (Meng et al. 2022, arXiv 2210.03142, with one scale).
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from orchestrion.contracts import Batch, Codec, Conditioner, Conditioning, Generator, Parts
from orchestrion.errors import UserError
from orchestrion.objectives.diffusion import Denoise, DenoiseConfig, DiffusionModel
from orchestrion.sampling.diffusion import Predict, heun
from orchestrion.sampling.guidance import guided
from orchestrion.sampling.parameterisations import Prediction
from orchestrion.sampling.paths import Level, spread
from orchestrion.sampling.schedules import Schedule, at_times, even

MOST_STEPS = 1000  # of a student: beyond, there is nothing left to save

class DistilConfig(DenoiseConfig):
    """Of `DenoiseConfig`, times and weighting are not used: the student learns at its own levels, all alike."""

    steps: int = 8  # of the student
    inner: int = 2  # steps of the teacher, by Heun, for one of the student's
    cfg_scale: float = 1.0  # of the teacher's guidance, where there are prompts
    drop: float = 0.0  # share of prompts left out

    def build(self, parts: Parts) -> "Distil":
        if not isinstance(parts.generator, DiffusionModel):
            raise UserError(f"a diffusion model can be distilled, and this is a {type(parts.generator).__name__}")
        if self.steps > MOST_STEPS:
            raise UserError(f"a student is taught to take few steps, {MOST_STEPS} at most, not {self.steps}")
        return Distil(self, parts.generator, parts.conditioner, parts.codec)


class Distil(Denoise):
    config: DistilConfig

    def __init__(self, config: DistilConfig, generator: Generator, conditioner: Conditioner | None,
                 codec: Codec) -> None:
        super().__init__(config, generator, conditioner, codec)
        self.teacher = copy.deepcopy(generator).eval().requires_grad_(False)  # saved along: it is needed to go on
        self.schedule = even(generator.config.path, config.steps)  # type: ignore[union-attr, arg-type]
        self.weights = {"distil": 1.0}

    def options(self) -> dict[str, Any]:
        return {"steps": self.config.steps, "solver": "ddim", "schedule": "even"}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"generator": [p for p in self.parts[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        data = self._data(batch)
        said = self._conditioning(batch, len(data))
        # each clip at a step of its own, spread evenly over the batch
        places = (torch.randperm(len(data)) + torch.randint(self.config.steps, ())) % self.config.steps
        losses = [self._errors(data[places == i], i, said.rows(places == i)) for i in places.unique().tolist()]
        yield "generator", {"distil": torch.cat(losses).mean()}

    def _errors(self, data: Tensor, place: int, said: Conditioning) -> Tensor:
        """Of the student's step from level `place`, `[b]`."""
        model = self.parts[0]
        assert isinstance(model, DiffusionModel)
        now, then = self.schedule.levels[place : place + 2]
        x = now.alpha * data + now.sigma * torch.randn_like(data)
        with torch.no_grad():
            wanted = self.landing(x, now, then, said)
        target = model.config.parameterisation.target(*step_between(x, wanted, now, then), now.alpha, now.sigma)
        time, alpha, sigma = (x.new_full((len(x),), value) for value in (now.time, now.alpha, now.sigma))
        output = model.output(x, time, alpha, sigma, said)
        return (output - target).square().flatten(1).mean(1)

    def landing(self, x: Tensor, now: Level, then: Level, said: Conditioning) -> Tensor:
        """Where the teacher's small steps lead."""
        path, inner = self.schedule.path, self.config.inner
        between = at_times(path, [now.time + (then.time - now.time) * i / inner for i in range(inner + 1)])
        predict = self._teacher(said)
        return heun(predict, x, Schedule(path, (now, *between.levels[1:-1], then)), lambda: torch.randn_like(x))

    def _teacher(self, said: Conditioning) -> Predict:
        teacher = self.teacher
        assert isinstance(teacher, DiffusionModel)

        def of(conditioning: Conditioning) -> Predict:
            def predict(x: Tensor, level: Level) -> Prediction:
                time, alpha, sigma = (x.new_full((len(x),), v) for v in (level.time, level.alpha, level.sigma))
                output = teacher.output(x, time, alpha, sigma, conditioning)
                return teacher.config.parameterisation.read(output, x, spread(alpha, x), spread(sigma, x))

            return predict

        if self.config.cfg_scale == 1 or self.parts[1] is None:
            return of(said)
        return guided(of(said), of(teacher.net.null(said)), self.config.cfg_scale)  # type: ignore[operator]


def step_between(x: Tensor, wanted: Tensor, now: Level, then: Level) -> Prediction:
    """The data and noise of which x at `now` is made and whose DDIM step from there to `then` is `wanted`
    (Salimans & Ho 2022, appendix G)."""
    shrink = then.sigma / now.sigma
    data = (wanted - shrink * x) / (then.alpha - shrink * now.alpha)
    return Prediction(data, (x - now.alpha * data) / now.sigma)
