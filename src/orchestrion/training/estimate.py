"""`--dry-run`: what a recipe takes on this machine, measured by a few real steps of each stage."""

from dataclasses import dataclass
from typing import Any

import torch

from orchestrion.contracts import Batch
from orchestrion.devices import peak_memory
from orchestrion.systems.system import Recipe, Stage
from orchestrion.training.loop import Loop
from orchestrion.training.options import TrainOptions, make_fabric
from orchestrion.training.run import fake_batch

STEPS = 3


@dataclass(frozen=True)
class Estimate:
    stage: Stage
    parameters: int  # that this stage trains, its critics' too
    seconds: float  # a step, the fastest of a few
    memory: float  # bytes, the most that the process or the device has held so far
    fits: bool  # False where the machine ran out of memory

    @property
    def hours(self) -> float:
        return self.seconds * self.stage.steps / 3600


def estimate(recipe: Recipe, channels: int, options: TrainOptions) -> list[Estimate]:
    """One estimate a stage (or of the one that is asked for), on noise of the right shape; nothing is written."""
    stages = (recipe.stage(options.stage),) if options.stage else recipe.stages
    fabric = make_fabric(options)
    system = recipe.system.build().to(fabric.device).eval()
    return [_measure(fabric, system, stage, channels) for stage in stages]


def _measure(fabric: Any, system: Any, stage: Stage, channels: int) -> Estimate:
    part = system.trained(stage)
    system.requires_grad_(False)
    part.requires_grad_(True)
    objective = stage.objective.build(system).to(fabric.device)
    loop = Loop(fabric, stage, part, objective)
    batch = fake_batch(system, stage, channels)
    seconds: list[float] = []

    class Same:
        def batch(self, step: int, size: int) -> Batch:
            return batch

    def tick(figures: dict[str, float]) -> bool:
        seconds.append(figures["seconds"])
        return len(seconds) < STEPS

    fits = True
    try:
        loop.run(Same(), STEPS, tick)
    except (torch.OutOfMemoryError, MemoryError):
        fits = False
    parameters = sum(p.numel() for group in loop.groups.values() for p in group)
    return Estimate(stage, parameters, min(seconds, default=float("nan")), peak_memory(fabric.device), fits)
