"""Flow matching: the squared error of the velocity (Lipman et al. 2022, eq. 23 with σ_min = 0).

Times are logit-normal (Esser et al. 2024, arXiv 2403.03206, §3.1). Of some clips a beginning or a span is given
clean, so that the network learns to continue and to fill. Of some the prompt is dropped, so that guidance has something
to lead away from (Ho & Salimans 2022, arXiv 2207.12598). A flow's guide learns the same beside it.
"""

import math
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from orchestrion.contracts import (
    Batch,
    Conditioner,
    Conditioning,
    Generator,
    Objective,
    ObjectiveConfig,
    Parts,
    Prompt,
)
from orchestrion.errors import UserError
from orchestrion.objectives.guides import learners


@runtime_checkable
class VelocityModel(Protocol):
    """A generator that tells velocities, given x `[b d n]` at time `[b]`, known latents and where they count, and what
    the prompts say; its networks by name."""

    net: nn.Module
    guide: nn.Module | None

    def velocity(self, x: Tensor, time: Tensor, known: Tensor, keep: Tensor,
                 conditioning: Conditioning | None = None, net: Any = None) -> Tensor: ...


class FlowMatchingConfig(ObjectiveConfig):
    beginnings: float = 0.4  # share of clips of which a beginning is given
    spans: float = 0.1  # share of which a gap is to be filled
    spread: float = 1.0  # deviation of the times' logit
    shift: float = 1.0  # above 1: more of the times near the noise, where the words decide (Esser et al., §5.3.2)
    dropped: float = 0.1  # share of prompts that are taken away

    def build(self, parts: Parts) -> "FlowMatching":
        if self.shift <= 0:
            raise UserError(f"flow matching's shift must be above 0, got {self.shift:g}")
        if not isinstance(parts.generator, VelocityModel):
            raise UserError(f"flow matching trains a flow, not a {type(parts.generator).__name__}")
        return FlowMatching(self, parts.generator, parts.conditioner)


class FlowMatching(Objective):
    def __init__(self, config: FlowMatchingConfig, generator: Generator, conditioner: Conditioner | None) -> None:
        super().__init__()
        self.config = config
        self.generator, self.conditioner = (generator,), (conditioner,)  # in tuples: they are saved elsewhere
        self.weights = {"velocity": 1.0, "guide": 1.0}

    def _velocity(self, x: Tensor, time: Tensor, known: Tensor, keep: Tensor, said: Conditioning | None,
                  net: nn.Module | None = None) -> Tensor:
        generator = self.generator[0]
        assert isinstance(generator, VelocityModel)
        return generator.velocity(x, time, known, keep, said, net)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        parts = [part for part in (*self.generator, *self.conditioner) if part is not None]
        return {"generator": [p for part in parts for p in part.parameters() if p.requires_grad]}

    def said(self, prompts: list[Prompt], b: int) -> Conditioning | None:
        """The conditioning of `b` clips, with some of the prompts taken away."""
        (conditioner,) = self.conditioner
        if conditioner is None:
            return None
        return conditioner(self.kept(prompts, b))

    def led(self, prompts: list[Prompt], b: int) -> Conditioning:
        """`said`, with what guidance leads away from: for those who learn from a guided teacher."""
        (conditioner,) = self.conditioner
        return Conditioning() if conditioner is None else conditioner.guided(self.kept(prompts, b))

    def kept(self, prompts: list[Prompt], b: int) -> list[Prompt]:
        """The prompts of `b` clips, some of them the null prompt instead."""
        dropped = (torch.rand(b) < self.config.dropped).tolist()
        return [Prompt() if gone else prompt for prompt, gone in zip(prompts or [Prompt()] * b, dropped)]

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        assert batch.latents is not None
        data = batch.latents
        b, _, n = data.shape
        noise = torch.randn_like(data)
        time = self._times(b, data.device)
        keep = self._known(b, n, data.device)
        x = torch.lerp(noise, data, time[:, None, None])
        said = self.said(batch.prompts, b)
        terms = {}
        for name, net in learners(self.generator[0], *self.conditioner, "velocity").items():
            heard = said.map(Tensor.detach) if said and name == "guide" else said  # the words are not read for it
            error = (self._velocity(x, time, data, keep, heard, net).float() - (data - noise)).square().mean(1)
            terms[name] = (error * ~keep).sum() / (~keep).sum()
        yield "generator", terms

    def _times(self, b: int, device: torch.device) -> Tensor:
        """Of `b` clips, `[b]`."""
        return torch.sigmoid(self.config.spread * torch.randn(b, device=device) - math.log(self.config.shift))

    def _known(self, b: int, n: int, device: torch.device) -> Tensor:
        """Which frames are given, `[b n]`: none, a beginning of up to two thirds, or all but a span."""
        place = torch.arange(n, device=device)
        kind, first, second = torch.rand(3, b, 1, device=device)
        beginning = place < (first * n * 2 / 3).long()
        start = (first * n / 2).long()
        span = (place < start) | (place >= start + 1 + (second * n / 2).long())
        keep = torch.where(kind < self.config.beginnings, beginning, torch.zeros_like(beginning))
        return torch.where(kind > 1 - self.config.spans, span, keep)
