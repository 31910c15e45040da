"""Adversarial post-training: a flow becomes a GAN, which makes in a step or two what the flow takes many for.

    noise ── flow, a step or two ──► x ──┬── critic ──► which of them is music
                                 music ──┘

Instead of learning where the flow's path leads, the network goes on by what a critic of whole windows hears (Lin et al.
2025, arXiv 2501.08316). The critic is Musika's, relative (Jolicoeur-Martineau 2018, arXiv 1807.00734), its slope held
at both sides (R3GAN: Huang et al. 2024, arXiv 2501.05441). Every clip's gradient is given the same length, so that a
batch isn't led by its worst clips.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from orchestrion.contracts import Batch, Conditioner, Conditioning, Generator, Parts
from orchestrion.errors import UserError
from orchestrion.nn.latent_critic import LatentCritic, steepness
from orchestrion.objectives.distillation import MOST_STEPS
from orchestrion.objectives.flow_matching import FlowMatching, FlowMatchingConfig, VelocityModel
from orchestrion.sampling.solvers import euler, even_times

RUNAWAY = 100.0  # of the critic's scores, whose differences are held near 1


class AdversarialFlowConfig(FlowMatchingConfig):
    """Of `FlowMatchingConfig`, the times' `spread` and `shift` are not used."""

    steps: int = 2  # that it will take
    first_shift: float = 2.0  # above 1: more of them near the noise
    critic: tuple[int, ...] = (96, 144, 192, 240, 288, 288)  # widths, fine to coarse
    penalty: float = 1.0  # on the critic's slope

    def build(self, parts: Parts) -> "AdversarialFlow":
        if not isinstance(parts.generator, VelocityModel):
            raise UserError("adversarial post-training shortens a flow, and this is a "
                            f"{type(parts.generator).__name__}")
        if self.steps > MOST_STEPS:
            raise UserError(f"a student is taught to take few steps, {MOST_STEPS} at most, not {self.steps}")
        if self.first_shift <= 0:
            raise UserError(f"adversarial post-training's first_shift must be above 0, got {self.first_shift:g}")
        if not self.critic:
            raise UserError("the critic needs a width for at least one level, got none")
        return AdversarialFlow(self, parts.generator, parts.conditioner)


class AdversarialFlow(FlowMatching):
    config: AdversarialFlowConfig

    def __init__(self, config: AdversarialFlowConfig, generator: Generator, conditioner: Conditioner | None) -> None:
        super().__init__(config, generator, conditioner)
        flow: Any = generator
        told = conditioner.width_of("frames") if conditioner and "frames" in conditioner.fills else 0
        self.critic = LatentCritic(flow.channels + told, config.critic, flow.config.context)
        self.times = even_times(config.steps, config.first_shift)
        self.weights = {"critic": 1.0, "penalty": config.penalty, "way": 1.0}
        self.score = 0.0  # of the critic, by size: the last one, for `health`

    def options(self) -> dict[str, Any]:
        return {"steps": self.config.steps, "solver": "euler", "shift": self.config.first_shift}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"generator": [p for p in self.generator[0].parameters() if p.requires_grad],
                "critic": list(self.critic.parameters())}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        assert batch.latents is not None
        data = batch.latents
        b, _, n = data.shape
        keep, said = self._known(b, n, data.device), self.said(batch.prompts, b) or Conditioning()
        frames = said.at(torch.arange(n)).frames
        made = self.imagine(data, keep, said)
        yield "critic", self._contest(data, made.detach(), frames)
        with torch.no_grad():
            on_data = self.critic(data, frames)
        heard = made.detach().requires_grad_()
        told = softplus(on_data - self.critic(heard, frames))
        (slope,) = torch.autograd.grad(told.sum(), heard)
        # the gradient of `way` is every clip's own, all of one length; `told` is for the log
        way = (made * unit(slope.float().masked_fill(keep[:, None], 0))).mean()
        yield "generator", {"way": way, "generator": told.mean().detach()}

    def imagine(self, data: Tensor, keep: Tensor, said: Conditioning) -> Tensor:
        """What the network makes at one of its steps, where that begins on its own way from noise: `[b d n]`."""
        place = int(torch.randint(self.config.steps, ()))

        def velocity(x: Tensor, time: float) -> Tensor:
            return self._velocity(x, x.new_full((1,), time), data, keep, said).float()

        with torch.no_grad():
            x = euler(velocity, torch.randn_like(data), self.times[: place + 1])
        made = euler(velocity, x, [self.times[place], 1.0])
        return torch.where(keep[:, None], data, made)

    def _contest(self, data: Tensor, made: Tensor, frames: Tensor | None) -> dict[str, Tensor]:
        held = [data.detach().clone().requires_grad_(), made.clone().requires_grad_()]
        on_data, on_made = (self.critic(x, frames) for x in held)
        self.score = torch.cat([on_data, on_made]).detach().abs().max().item()
        return {"critic": softplus(on_made - on_data).mean(), "penalty": steepness(on_data + on_made, held)}

    def health(self) -> str | None:
        if not self.score < RUNAWAY:  # also where it is no number
            return (f"the critic's scores have run away to {self.score:.0f}: begin again with a lower learning rate or "
                    "more penalty")
        return None


def unit(way: Tensor) -> Tensor:
    """`[b d n]`, every clip's of mean square 1."""
    return way / way.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-12)
