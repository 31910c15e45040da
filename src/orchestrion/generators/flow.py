"""Rectified flow over a codec's latents (Liu et al. 2022, arXiv 2209.03003; Lipman et al. 2022, 2210.02747).

x_t = (1 - t)·noise + t·data, and the network tells the velocity data - noise. It also sees which frames are
already known, so that one network begins a piece, continues it and fills gaps; any length is made of windows, each
continuing the last, and a loop is closed by filling the gap from its end to its beginning. A prompt's words are
attended to, its vector shifts the modulation; guidance leads away from the null or the negative prompt (Ho & Salimans
2022, arXiv 2207.12598), at an interval of times alone: near the end it costs as much and changes little (Kynkäänniemi
et al. 2024, arXiv 2404.07724). There a smaller network that learnt beside it may lead instead: sampling goes away from
what both get wrong, and that one more (autoguidance: Karras et al. 2024, arXiv 2406.02507).
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.contracts import (
    Conditioner,
    Conditioning,
    Continuous,
    Edit,
    Generator,
    GeneratorConfig,
    Progress,
    Space,
)
from orchestrion.errors import UserError
from orchestrion.nn.dit import DiT
from orchestrion.sampling.clips import clip_generators, clip_noise
from orchestrion.sampling.numbers import check_above_zero, check_from_zero, check_led_away, check_steps
from orchestrion.sampling.solvers import even_times, find_solver

LED_AWAY = 1.5  # cfg_scale for a negative prompt, where guidance by the prompt is part of the network


Scales = tuple[float, float]
"""Of guidance by the prompt, and away from the guide; 1: none."""


@dataclass(frozen=True)
class FlowOptions:
    """How a flow is sampled. The defaults, eight evaluations, come as near to the exact path as twelve steps of Heun,
    23 evaluations, at even times (docs/speed.md), and sound as fifty do (docs/diffusion.md)."""

    steps: int = 8
    solver: str = "adams"  # adams, euler, heun or midpoint
    shift: float = 2.0  # above 1: more of the steps near the noise
    cfg_scale: float | None = None  # 1: prompt and beat as they are, above: stressed; None: as the model was made for
    cfg_from: float = 0.0  # guided are the steps that begin when this share of the way to sound is gone, or later,
    cfg_until: float = 0.5  # and before this one
    guide_scale: float | None = None  # away from the guide, if there is one: 1 leaves it out; None: as it was made for
    guide_from: float = 0.6  # by the steps that begin when this share of the way is gone, or later
    loop: bool = False  # the end runs into the beginning

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_above_zero("shift", self.shift)
        check_from_zero("cfg_scale", self.cfg_scale)
        check_from_zero("cfg_from", self.cfg_from)
        check_from_zero("cfg_until", self.cfg_until)
        check_from_zero("guide_scale", self.guide_scale)
        check_from_zero("guide_from", self.guide_from)
        if not self.cfg_from <= self.cfg_until <= 1:
            raise UserError("the prompt steers from one share of the way to a later one, 1 at most: cfg_from "
                            f"{self.cfg_from:g} and cfg_until {self.cfg_until:g} don't say so")

    def stretches(self, way: list[float], scales: Scales) -> list[tuple[Scales, list[float]]]:
        """Times from 0 to 1, cut where one of the two guidances begins or ends; each part with their scales, 1 where
        they rest. A solver that looks back must not look over a cut: the slopes on its two sides are of two fields."""
        made: list[tuple[Scales, list[float]]] = []
        for now, then in pairwise(way):
            here = (scales[0] if self.cfg_from <= now < self.cfg_until else 1.0,
                    scales[1] if self.guide_from <= now else 1.0)
            if made and made[-1][0] == here:
                made[-1][1].append(then)
            else:
                made.append((here, [now, then]))
        return made


class DiTConfig(Config):
    width: int = 256
    depth: int = 8
    heads: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (2 * self.heads):
            raise UserError("a transformer's width must be a multiple of twice its heads (places turn numbers in "
                            f"pairs), got {self.width} for {self.heads}")


class FlowConfig(GeneratorConfig):
    of_use = frozenset({"guide", "guidance", "guide_scale"})

    net: DiTConfig = DiTConfig()
    guide: DiTConfig | None = None  # a smaller network that learns beside it, for sampling to be led away from
    context: int = 256  # latent frames that the network sees at once
    overlap: int = 64  # of them, known frames at the beginning of each further window
    guidance: float = 3.0  # where there is a prompt or a beat, and a sampling's options don't say; 1: it is part of it
    guide_scale: float = 1.5  # where there is a guide, and a sampling's options don't say

    def build(self, space: Space, conditioner: Conditioner | None) -> "FlowGenerator":
        return FlowGenerator(self, space, conditioner)


class FlowGenerator(Generator):
    accepts: ClassVar[frozenset[str]] = frozenset({"sequence", "vector", "frames"})
    capabilities: ClassVar[frozenset[str]] = frozenset({"continue", "inpaint", "vary", "loop"})
    options: ClassVar[type] = FlowOptions

    def __init__(self, config: FlowConfig, space: Space, conditioner: Conditioner | None) -> None:
        super().__init__()
        if not isinstance(space, Continuous) or space.bands is not None:
            raise UserError(f"a flow models continuous latents [b d n]; this codec makes {space}")
        fills = conditioner.fills & self.accepts if conditioner is not None else frozenset()
        if conditioner is not None and not fills:
            raise UserError(f"a flow takes {' or '.join(sorted(self.accepts))} as conditioning; "
                            f"{type(conditioner).__name__} fills {', '.join(sorted(conditioner.fills))}")
        if not 0 < config.overlap < config.context:
            raise UserError(f"the overlap must be between 0 and the context of {config.context} frames, "
                            f"got {config.overlap}")
        self.config, self.channels = config, space.channels
        self.conditioned = bool(fills)
        vector, words, paced = (conditioner.width_of(slot) if conditioner and slot in fills else 0
                                for slot in ("vector", "sequence", "frames"))

        def network(net: DiTConfig) -> DiT:
            return DiT(2 * space.channels + 1, space.channels, net.width, net.depth, net.heads, vector, words, paced)

        self.net = network(config.net)
        self.guide = network(config.guide) if config.guide else None

    def velocity(self, x: Tensor, time: Tensor, known: Tensor, keep: Tensor,
                 conditioning: Conditioning | None = None, net: DiT | None = None) -> Tensor:
        """x `[b d n]` at `time` `[b]` or `[1]`; known latents `[b d n]` count where keep `[b n]` -> `[b d n]`. net: the
        guide, if it is to tell."""
        mask = keep[:, None].to(x.dtype)
        features = torch.cat([x, known * mask, mask], 1)
        said = (conditioning or Conditioning()).at(torch.arange(x.shape[-1]))
        paced = None if said.frames is None else said.frames.mT
        return (net or self.net)(features.transpose(1, 2), time, said.vector, said.sequence, said.mask,
                                 paced).transpose(1, 2)

    def guided(self, x: Tensor, time: float, known: Tensor, keep: Tensor, conditioning: Conditioning,
               guidance: float, guide_scale: float = 1.0) -> Tensor:
        """The velocity for the prompts, led away from that for what they are against: one pass over twice the batch;
        then away from the guide's for the same prompts."""
        at = x.new_full((1,), time)
        if guidance == 1 or conditioning.against is None:
            made = self.velocity(x, at, known, keep, conditioning)
        else:
            twice, there, kept = (torch.cat([part, part]) for part in (x, known, keep))
            towards, away = self.velocity(twice, at, there, kept, conditioning.both()).chunk(2)
            made = torch.lerp(away, towards, guidance)
        if guide_scale == 1 or self.guide is None:
            return made
        return torch.lerp(self.velocity(x, at, known, keep, conditioning, self.guide), made, guide_scale)

    @torch.no_grad()
    def sample(self, frames: int, conditioning: Conditioning, seeds: list[int], options: FlowOptions | None = None,
               edit: Edit | None = None, progress: Progress | None = None) -> Tensor:
        options = options or FlowOptions()
        if options.loop:
            return self._loop(frames, conditioning, seeds, options, progress)
        scales = self._scales(options, conditioning)
        place = next(self.parameters())
        noise = clip_noise(clip_generators(seeds), frames, self.channels).transpose(1, 2).to(place)
        known = torch.zeros_like(noise) if edit is None else edit.source.to(place)
        keep = noise.new_zeros(len(seeds), frames, dtype=torch.bool) if edit is None else edit.keep.to(noise.device)
        strength = 1.0 if edit is None else edit.strength
        starts = self.starts(frames)
        made, source = known.clone(), known
        for number, start in enumerate(starts):
            part = slice(start, min(start + self.config.context, frames))
            done = keep[:, part].clone()
            if number:
                done[:, : starts[number - 1] + self.config.context - start] = True

            def told(step: int, number: int = number) -> None:
                if progress:
                    progress((number + step / options.steps) / len(starts))

            said = conditioning.at(torch.arange(part.start, part.stop))
            made[..., part] = self._window(noise[..., part], made[..., part], source[..., part], done, strength,
                                           options, told, said, scales)
        return made

    def _loop(self, frames: int, conditioning: Conditioning, seeds: list[int], options: FlowOptions,
              progress: Progress | None) -> Tensor:
        """All but a gap, then the gap, between what ends before it and what begins after it. The conditioning's frames
        must go round by themselves."""
        side = min(self.config.overlap, self.config.context // 3)
        gap = min(self.config.context - 2 * side, frames // 3)
        if gap < 1:
            raise UserError("this loop is too short for its end to run into its beginning: ask for a longer one")
        open_ = frames - gap
        side = min(side, open_)
        windows = len(self.starts(open_)) + 1
        plain = replace(options, loop=False)
        share = (lambda done: progress(done * (windows - 1) / windows)) if progress else None
        made = self.sample(open_, conditioning, seeds, plain, progress=share)
        noise = clip_noise(clip_generators(seeds), frames, self.channels)[:, open_:].transpose(1, 2).to(made)
        around = nn.functional.pad(noise, (side, side))
        known = torch.cat([made[..., -side:], torch.zeros_like(noise), made[..., :side]], -1)
        keep = torch.ones_like(known[:, 0], dtype=torch.bool)
        keep[:, side:-side] = False
        turn = (torch.arange(known.shape[-1], device=made.device) + open_ - side) % frames
        said = conditioning.at(turn)

        def told(step: int) -> None:
            if progress:
                progress((windows - 1 + step / options.steps) / windows)

        scales = self._scales(plain, conditioning)
        closing = self._window(around, known, known, keep, 1.0, plain, told, said, scales)
        return torch.cat([made, closing[..., side:-side]], -1)

    def starts(self, frames: int) -> list[int]:
        """Where the windows of a clip begin. Each overlaps the one before; by up to an eighth less than `overlap` where
        that saves a window, as it does for 30 s."""
        context, overlap = self.config.context, self.config.overlap
        more, step = max(frames - context, 0), context - overlap
        count = -(-more // step)
        fewest = -(-more // (step + overlap // 8))
        return [i * step if fewest == count else round(i * more / fewest) for i in range(fewest + 1)]

    def _scales(self, options: FlowOptions, conditioning: Conditioning) -> Scales:
        """1 where nothing is asked for: it would cost as much and change nothing."""
        scale, away = options.cfg_scale, options.guide_scale
        if scale is None:
            scale = self.config.guidance if self.conditioned else 1.0
            if scale == 1 and any(conditioning.negated):
                scale = LED_AWAY
        if not self.conditioned and scale != 1:
            raise UserError("this model takes no prompt, so there is nothing to guide towards: leave cfg_scale out")
        if self.guide is None and away not in (None, 1):
            raise UserError("this model has no guide to be led away from: leave guide_scale out")
        check_led_away(conditioning.negated, scale)
        away = self.config.guide_scale if away is None else away
        return scale if asks(conditioning) else 1.0, away if self.guide else 1.0

    def _window(self, noise: Tensor, known: Tensor, source: Tensor, keep: Tensor, strength: float,
                options: FlowOptions, told, conditioning: Conditioning, scales: Scales) -> Tensor:
        """One window: from noise, or from the source with `strength` of noise, to latents; kept frames stay."""
        begin = 1 - strength
        x = (1 - begin) * noise + begin * source
        solve, done, way = find_solver(options.solver), 0, even_times(options.steps, options.shift)
        for here, part in options.stretches(way, scales):

            def velocity(x: Tensor, time: float, here: Scales = here) -> Tensor:
                return self.guided(x, time, known, keep, conditioning, *here)

            def tell(step: int, done: int = done) -> None:
                told(done + step)

            x = solve(velocity, x, [begin + (1 - begin) * share for share in part], tell)
            done += len(part) - 1
        return torch.where(keep[:, None], known, x)


def asks(conditioning: Conditioning) -> bool:
    """Whether any clip's conditioning differs from what guidance would lead it away from."""
    others = conditioning.against.slots() if conditioning.against else {}
    return any(not torch.equal(slot, others[name]) for name, slot in conditioning.slots().items() if name in others)
