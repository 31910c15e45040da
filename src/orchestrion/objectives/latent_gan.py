"""Musika's adversarial training of a latent GAN: hinge loss, and a gradient penalty that fades when not needed.

Pasini & Schlüter, ISMIR 2022; figures from the authors' 44.1 kHz code (train.py, utils.py). One difference: there both
networks step from the same forward pass, here the generator answers to the critic that has just stepped.

`relative`: the critic tells which of a pair is real, softplus(D(made) - D(real)) (Jolicoeur-Martineau 2018, arXiv
1807.00734), and its slope is held at made clips as at real ones (R3GAN: Huang et al. 2024, arXiv 2501.05441).
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.functional import softplus

from orchestrion.contracts import Batch, Objective, ObjectiveConfig, Parts, Prompt
from orchestrion.errors import UserError
from orchestrion.nn.latent_critic import steepness

RUNAWAY = 100.0  # the hinge loss holds a critic's scores near -1 and 1, the relative one their differences near 1


class LatentGanObjectiveConfig(ObjectiveConfig):
    penalty: float = 10.0  # greatest weight of the gradient penalty
    relative: bool = False  # the critic compares a real clip with a made one, and its slope is held at both
    patience: float = 1e-4  # how much the switch moves in a step
    certain: float = 0.9  # above this certainty of the critic, the penalty grows
    swap_channels: bool = False  # with `PerChannel` codecs of two channels: swap left and right at random
    unprompted: float = 0.1  # share of clips trained without their prompt

    def build(self, parts: Parts) -> "LatentGanObjective":
        return LatentGanObjective(self, parts)


class LatentGanObjective(Objective):
    """Trains `parts.generator`, a latent GAN, against a critic of its own.

    switch: from -1, the whole penalty, to 0, none. It moves by `patience` a step, down while the critic is too
    certain and up otherwise. It is saved with the critic, so fine-tuning goes on where training ended.
    """

    switch: Tensor
    certainty: Tensor

    def __init__(self, config: LatentGanObjectiveConfig, parts: Parts) -> None:
        super().__init__()
        generator: Any = parts.generator
        if generator is None or not hasattr(generator, "critic"):
            raise UserError("the latent GAN objective trains a latent GAN, and this system's generator is "
                            f"{type(generator).__name__}")
        if config.swap_channels and (parts.codec.channels != 2 or generator.channels % 2):
            raise UserError("swap_channels needs a codec of two channels with their latents side by side")
        self.config = config
        self.parts = (parts,)  # in a tuple: saved elsewhere
        self.generator = (generator,)
        self.critic = generator.critic()
        self.register_buffer("switch", torch.tensor(-1.0))
        self.register_buffer("certainty", torch.tensor(0.5))  # running average, for `health`
        self.score = 0.0  # of the critic, by size: the last one, for `health`

    @property
    def weights(self) -> dict[str, float]:  # type: ignore[override]
        return {"critic": 1.0, "penalty": self.config.penalty * -self.switch.item(), "generator": 1.0}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "generator": [p for p in self.generator[0].parameters() if p.requires_grad],
            "critic": list(self.critic.parameters()),
        }

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        generator = self.generator[0]
        real = self._windows(batch)
        extra = self._extra(batch.prompts, real)
        with torch.no_grad():
            made = generator.imagine(len(real), extra)
        relative = self.config.relative
        held = [real.requires_grad_(), made.requires_grad_()] if relative else [real.requires_grad_()]
        on_real, on_made = self.critic(real, extra), self.critic(made, extra)
        self._turn(on_real.mean() - on_made.mean())
        scores = [on_real - on_made] if relative else [on_real, on_made]
        self.score = torch.cat(scores).detach().abs().max().item()
        if relative:
            terms = {"critic": softplus(on_made - on_real).mean()}
        else:
            terms = {"critic": ((1 - on_real).relu().mean() + (1 + on_made).relu().mean()) / 2}
        if self.switch < 0:
            terms["penalty"] = steepness(on_real + on_made, held)
        yield "critic", terms
        on_made = self.critic(generator.imagine(len(real), extra), extra)
        if relative:
            with torch.no_grad():
                on_real = self.critic(real, extra)
            yield "generator", {"generator": softplus(on_real - on_made).mean()}
        else:
            yield "generator", {"generator": -on_made.mean()}

    def health(self) -> str | None:
        if not self.score < RUNAWAY:  # also where it is no number
            return (f"the critic's scores have run away to {self.score:.0f}: this won't mend itself; begin again with "
                    "a lower learning rate")
        if self.certainty > 0.99 and self.switch <= -1:
            return ("the critic tells every made clip from a real one, even under the full penalty, so the generator "
                    "learns little: where the demos get no better, lower the learning rate, or train the codec longer")
        return None

    @torch.no_grad()
    def _turn(self, gap: Tensor) -> None:
        """Moves the switch by how far apart the critic holds real and made."""
        certainty = gap.float().clamp(0, 2) / 2
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(certainty)
            certainty = certainty / torch.distributed.get_world_size()
        self.certainty.lerp_(certainty, 0.01)
        move = -self.config.patience if certainty > self.config.certain else self.config.patience
        self.switch.add_(move).clamp_(-1, 0)

    def _windows(self, batch: Batch) -> Tensor:
        """Real windows `[b d latlen]`, cropped at random where the clip is longer, with channels swapped at random."""
        if batch.latents is None:
            raise UserError("the latent GAN trains on latents: set the stage's `on` to latents")
        latents, latlen = batch.latents.detach(), self.generator[0].latlen
        spare = latents.shape[-1] - latlen
        if spare < 0:
            rate = self.parts[0].codec.space.rate or 1.0
            raise UserError(f"the latent GAN trains on windows of {latlen} frames and got {latents.shape[-1]}: set "
                            f"the stage's crop to {latlen / rate:.3g} seconds or more")
        if spare:
            starts = torch.randint(spare + 1, (len(latents),)).tolist()
            latents = torch.stack([x[:, s : s + latlen] for x, s in zip(latents, starts)])
        if self.config.swap_channels:
            left, right = latents.chunk(2, 1)
            swap = torch.rand(len(latents), 1, 1, device=latents.device) < 0.5
            latents = torch.where(swap, torch.cat([right, left], 1), latents)
        return latents.clone()

    def _extra(self, prompts: list[Prompt], real: Tensor) -> Tensor | None:
        """The conditioning of every step `[b e latlen]`, with some prompts taken away."""
        conditioner = self.parts[0].conditioner
        if conditioner is None:
            return None
        keep = torch.rand(len(real)) >= self.config.unprompted
        prompts = prompts or [Prompt()] * len(real)
        conditioning = conditioner([p if k else Prompt() for p, k in zip(prompts, keep)])
        extra = self.generator[0].per_step(conditioning, self.generator[0].latlen)
        return extra if extra is None else extra.to(real)
