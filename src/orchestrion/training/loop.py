"""One stage's training: crops in, an objective's losses, optimisers, an average of the weights.

Everything random at a step follows from (seed, step), and the data do too. So a checkpoint holds weights,
optimisers and the step's number, and n + m steps equal n steps, a kill, and m steps.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from orchestrion.contracts import Batch, Objective
from orchestrion.errors import UserError
from orchestrion.systems.system import Stage


class Dataset(Protocol):
    def batch(self, step: int, size: int) -> Batch: ...


class Loop:
    """Trains `part` by `objective`. `fabric` is a launched `lightning.Fabric`: device, precision, processes."""

    def __init__(self, fabric: Any, stage: Stage, part: nn.Module, objective: Objective, seed: int = 0) -> None:
        self.fabric, self.stage, self.part, self.objective, self.seed = fabric, stage, part, objective, seed
        self.step = 0
        self.groups = objective.groups()
        if not any(self.groups.values()):
            raise UserError(f"stage {stage.name!r} has nothing to train")
        self.optimisers = {
            name: torch.optim.AdamW(parameters, lr=self._peak(name), betas=stage.betas,
                                    weight_decay=stage.weight_decay, fused=True)
            for name, parameters in self.groups.items()
        }
        self.average = {name: tensor.detach().clone() for name, tensor in part.state_dict().items()}

    def run(self, data: Dataset, until: int, tick: Callable[[dict[str, float]], bool]) -> None:
        """Trains up to step `until`; `tick` gets each step's figures and answers whether to go on."""
        for batch in self._batches(data, until):
            began = time.perf_counter()
            self.objective.train()
            self.part.train()
            figures = self._train(batch)
            self.step += 1
            self._follow()
            if not tick(figures | {"seconds": time.perf_counter() - began}):
                return

    def _train(self, batch: Batch) -> dict[str, float]:
        torch.manual_seed(hash((self.seed, self.step, self.fabric.global_rank)) % 2**63)
        figures: dict[str, Tensor] = {}
        losses = self.objective.losses(batch.to(self.fabric.device), self.step)
        while True:
            with self.fabric.autocast():
                turn = next(losses, None)
            if turn is None:
                break
            name, terms = turn
            self._descend(name, terms)
            figures |= terms
        return {name: float(value.detach()) for name, value in figures.items()}

    def _descend(self, name: str, terms: dict[str, Tensor]) -> None:
        """One step of one group's optimiser down the weighted sum of its losses."""
        weights = self.objective.weights
        total = torch.stack([weights[key] * value.float() for key, value in terms.items() if key in weights]).sum()
        if not torch.isfinite(total):
            bad = ", ".join(key for key, value in terms.items() if not torch.isfinite(value)) or "their sum"
            raise UserError(f"the loss stopped being a number at step {self.step} ({bad}): lower "
                            "the learning rate, or go on from the last checkpoint with another --seed")
        parameters, optimiser = self.groups[name], self.optimisers[name]
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = laid_out(gradient, parameter)
        if self.fabric.world_size > 1:
            self._share(parameters)
        if self.stage.clip is not None:
            nn.utils.clip_grad_norm_(parameters, self.stage.clip)
        for group in optimiser.param_groups:
            group["lr"] = self._peak(name) * self._anneal()
        optimiser.step()
        torch.autograd.graph.increment_version(parameters)  # fused steps don't, and copies for inference look at it
        optimiser.zero_grad(set_to_none=True)

    def _share(self, parameters: list[nn.Parameter]) -> None:
        """Averages the gradients over processes, in one message. Works for any objective, a GAN's turns and
        second derivatives too, where wrapping modules in DDP would not."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
        flat = self.fabric.all_reduce(flat, reduce_op="mean")
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters])):
            parameter.grad = part.view_as(parameter)

    def _peak(self, name: str) -> float:
        critic = name != next(iter(self.groups))
        return self.stage.critic_rate if critic and self.stage.critic_rate else self.stage.learning_rate

    def _anneal(self) -> float:
        """The share of the peak learning rate at this step."""
        warm = min(1.0, (self.step + 1) / max(self.stage.warmup, 1))
        if self.stage.schedule == "constant":
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * min(self.step / self.stage.steps, 1.0)))

    def _follow(self) -> None:
        """The running average of the weights, shorter at first so that it doesn't remember the start."""
        decay = min(self.stage.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, tensor in self.part.state_dict().items():
                if tensor.dtype.is_floating_point:
                    self.average[name].lerp_(tensor.detach(), 1 - decay)
                else:
                    self.average[name].copy_(tensor)

    def _batches(self, data: Dataset, until: int) -> Iterator[Batch]:
        """The batches from this step on, read ahead by threads; each process takes its share of the rows."""
        world, rank = self.fabric.world_size, self.fabric.global_rank
        if self.stage.batch % world:
            raise UserError(f"a batch of {self.stage.batch} can't be shared by {world} processes evenly")
        with ThreadPoolExecutor(2) as pool:
            ahead: deque[Future[Batch]] = deque()
            step = self.step
            while step < until or ahead:
                while step < until and len(ahead) < 4:
                    ahead.append(pool.submit(data.batch, step, self.stage.batch))
                    step += 1
                try:
                    yield _rows(ahead.popleft().result(), rank, world)
                except GeneratorExit:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "part": self.part.state_dict(),
            "average": self.average,
            "objective": self.objective.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises UserError where the checkpoint belongs to another configuration."""
        try:
            self.part.load_state_dict(state["part"])
            self.objective.load_state_dict(state["objective"])
            for name, optimiser in self.optimisers.items():
                optimiser.load_state_dict(state["optimisers"][name])
        except (RuntimeError, KeyError, ValueError) as error:
            raise UserError(f"the checkpoint of stage {self.stage.name!r} was made with another configuration "
                            f"({error}): use another run folder") from error
        device = self.fabric.device
        self.average = {name: tensor.to(device) for name, tensor in state["average"].items()}
        self.step = state["step"]


def laid_out(gradient: Tensor | None, parameter: Tensor) -> Tensor | None:
    """The gradient in the parameter's own order in memory: through images with channels last it comes in another, and
    AdamW's fused step pairs the numbers as they lie, so that it would train a scrambled network."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _rows(batch: Batch, rank: int, world: int) -> Batch:
    if world == 1:
        return batch
    return batch.map(lambda x: x[rank::world], batch.prompts[rank::world])
