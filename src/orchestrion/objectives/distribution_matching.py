"""Distribution matching: a flow learns to reach in a step or two what it needs many for, and beyond that what music is.

    noise ── student, its few steps ──► x ──┬─ noised ──► teacher's data less the imitator's ──► where x is to go
                                            └─ beside music ── critic ──────────────────────────► and where else

The teacher is the flow as it was. The imitator is a flow that goes on learning what the student makes; where the two
tell different data for the same noisy x, their difference is the way from the student's distribution to the teacher's
(DMD: Yin et al. 2024, arXiv 2311.18828, eq. 7). A critic knows what the teacher gets wrong (DMD2: arXiv 2405.14867,
§4.3): Musika's, of clean latents, relative, its slope held at both (R3GAN: Huang et al. 2024, arXiv 2501.05441).
Unlike there, the critic's gradient is given a share of the other's length, so that neither drowns the other.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from orchestrion.contracts import Batch, Conditioner, Conditioning, Generator, Parts
from orchestrion.errors import UserError
from orchestrion.nn.latent_critic import LatentCritic
from orchestrion.objectives.distillation import MOST_STEPS
from orchestrion.objectives.flow_matching import FlowMatching, FlowMatchingConfig, VelocityModel
from orchestrion.sampling.solvers import even_times

RUNAWAY = 100.0  # of the critic's scores, whose differences are held near 1
LEAST = 1e-3  # way of each number, where teacher and imitator are still one and the critic's part would be none


class DistributionMatchingConfig(FlowMatchingConfig):
    """Of `FlowMatchingConfig`, `spread` and `shift` are the times at which the imitator learns."""

    steps: int = 1  # of the student
    first_shift: float = 2.0  # above 1: more of the student's steps near the noise
    cfg_scale: float = 2.0  # of the teacher's guidance, where there are prompts,
    cfg_until: float = 0.2  # at times before this share of the way to sound
    critic: tuple[int, ...] = (96, 144, 192, 240, 288, 288)  # widths, fine to coarse
    imitations: int = 4  # steps of the imitator for one of the student's: one that lags leads astray (DMD2, §4.2)
    share: float = 0.5  # of the critic's gradient, beside the teacher's; 0: no critic
    penalty: float = 1.0  # on the critic's slope

    def build(self, parts: Parts) -> "DistributionMatching":
        if not isinstance(parts.generator, VelocityModel):
            raise UserError(f"distribution matching shortens a flow, and this is a {type(parts.generator).__name__}")
        if self.steps > MOST_STEPS:
            raise UserError(f"a student is taught to take few steps, {MOST_STEPS} at most, not {self.steps}")
        if self.shift <= 0 or self.first_shift <= 0:
            raise UserError(f"distribution matching's shift and first_shift must be above 0, got {self.shift:g} and "
                            f"{self.first_shift:g}")
        if self.share and not self.critic:
            raise UserError("distribution matching's critic needs a width for at least one level, got none: give some, "
                            "or leave it out by share=0")
        return DistributionMatching(self, parts.generator, parts.conditioner)


class DistributionMatching(FlowMatching):
    config: DistributionMatchingConfig

    def __init__(self, config: DistributionMatchingConfig, generator: Generator,
                 conditioner: Conditioner | None) -> None:
        super().__init__(config, generator, conditioner)
        self.teacher = copy.deepcopy(generator).eval().requires_grad_(False)  # saved along: it is needed to go on
        self.imitator = copy.deepcopy(generator).requires_grad_(True)
        flow: Any = generator
        told = conditioner.width_of("frames") if conditioner and "frames" in conditioner.fills else 0
        self.critic = LatentCritic(flow.channels + told, config.critic, flow.config.context) if config.share else None
        self.times = even_times(config.steps, config.first_shift)
        self.weights = {"imitator": 1.0, "critic": 1.0, "penalty": config.penalty, "matching": 1.0}
        self.score = 0.0  # of the critic, by size: the last one, for `health`

    def options(self) -> dict[str, Any]:
        return {"steps": self.config.steps, "solver": "euler", "shift": self.config.first_shift}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {"generator": [p for p in self.generator[0].parameters() if p.requires_grad],
                  "imitator": list(self.imitator.parameters())}
        return groups if self.critic is None else groups | {"critic": list(self.critic.parameters())}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        assert batch.latents is not None
        data = batch.latents
        b, _, n = data.shape
        keep, said = self._known(b, n, data.device), self.led(batch.prompts, b)
        plain = replace(said, against=None)
        made = self.imagine(data, keep, plain)
        still = made.detach()
        for _ in range(self.config.imitations):
            yield "imitator", {"imitator": self._imitation(still, data, keep, plain)}
        way = self._way(still, data, keep, said)
        if self.critic is not None:
            extra = None if said.frames is None else plain.at(torch.arange(n)).frames
            yield "critic", self._contest(data, still, extra)
            away = self._away(still, data, extra).masked_fill(keep[:, None], 0)
            theirs, own = (each.square().mean((1, 2), keepdim=True).sqrt() for each in (way, away))
            way = way + self.config.share * theirs.clamp_min(LEAST) / own.clamp_min(1e-12) * away
        # the gradient of this is `way`, spread over all that was made
        yield "generator", {"matching": (made * way).sum() / (~keep).sum() / made.shape[1]}

    def imagine(self, data: Tensor, keep: Tensor, said: Conditioning) -> Tensor:
        """What the student makes at one of its steps, where that begins on its own way from noise: `[b d n]`."""
        x, place = torch.randn_like(data), int(torch.randint(self.config.steps, ()))
        with torch.no_grad():
            for now, then in zip(self.times[:place], self.times[1:]):
                x = x + (then - now) * self._velocity(x, x.new_full((1,), now), data, keep, said).float()
        now = self.times[place]
        made = x + (1 - now) * self._velocity(x, x.new_full((1,), now), data, keep, said).float()
        return torch.where(keep[:, None], data, made)

    def _imitation(self, made: Tensor, data: Tensor, keep: Tensor, said: Conditioning) -> Tensor:
        """Flow matching, of what the student made."""
        noise, time = torch.randn_like(made), self._times(len(made), made.device)
        x = torch.lerp(noise, made, time[:, None, None])
        error = self._told(self.imitator, x, time, data, keep, said) - (made - noise)
        return (error.square().mean(1) * ~keep).sum() / (~keep).sum()

    @torch.no_grad()
    def _way(self, made: Tensor, data: Tensor, keep: Tensor, said: Conditioning) -> Tensor:
        """From the teacher's data to the imitator's, in units of how far the teacher's are off `made`: `[b d n]`."""
        time = 0.02 + 0.96 * torch.rand(len(made), device=made.device)
        x = torch.lerp(torch.randn_like(made), made, time[:, None, None])
        plain, left = replace(said, against=None), (1 - time)[:, None, None]
        mine = x + left * self._told(self.imitator, x, time, data, keep, plain)
        told = self._told(self.teacher, x, time, data, keep, plain)
        led = time < self.config.cfg_until
        if said.against is not None and self.config.cfg_scale != 1 and led.any():
            away = self._told(self.teacher, x[led], time[led], data[led], keep[led], said.against.rows(led))
            told[led] = torch.lerp(away, told[led], self.config.cfg_scale)
        open_ = ~keep[:, None]
        off = ((made - x - left * told).abs() * open_).sum((1, 2)) / (open_.sum((1, 2)) * made.shape[1]).clamp_min(1)
        return (mine - x - left * told) * open_ / off.clamp_min(1e-3)[:, None, None]

    def _contest(self, data: Tensor, made: Tensor, extra: Tensor | None) -> dict[str, Tensor]:
        assert self.critic is not None
        held = [data.detach().clone().requires_grad_(), made.clone().requires_grad_()]
        on_data, on_made = (self.critic(x, extra) for x in held)
        self.score = torch.cat([on_data, on_made]).detach().abs().max().item()
        slopes = torch.autograd.grad(on_data.sum() + on_made.sum(), held, create_graph=True)
        penalty = torch.stack([slope.float().square().flatten(1).sum(1).mean() for slope in slopes]).sum()
        return {"critic": softplus(on_made - on_data).mean(), "penalty": penalty}

    def _away(self, made: Tensor, data: Tensor, extra: Tensor | None) -> Tensor:
        """The gradient by `made` of the critic's preference for the data: `[b d n]`."""
        assert self.critic is not None
        made = made.clone().requires_grad_()
        with torch.enable_grad():
            loss = softplus(self.critic(data, extra).detach() - self.critic(made, extra)).sum()
            (slope,) = torch.autograd.grad(loss, made)
        return slope.float()

    def _told(self, model: nn.Module, x: Tensor, time: Tensor, known: Tensor, keep: Tensor,
              said: Conditioning) -> Tensor:
        assert isinstance(model, VelocityModel)
        return model.velocity(x, time, known, keep, said).float()

    def health(self) -> str | None:
        if not self.score < RUNAWAY:  # also where it is no number
            return (f"the critic's scores have run away to {self.score:.0f}: begin again with a lower learning rate or "
                    "more penalty")
        return None
