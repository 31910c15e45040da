"""Diffusion over any continuous space, by any network, path and parameterisation.

    noise ── solver over a schedule ◄── windows ◄── kept parts ◄── guidance ◄── network ──► latents

One sampler for everything: what is kept, how long it is and how strongly the prompt steers are wrapped round the
network's prediction (`sampling.guidance`), so that each goes with every solver.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

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
from orchestrion.nn.denoiser import Denoiser, DenoiserConfig
from orchestrion.sampling.clips import clip_generators, clip_noise
from orchestrion.sampling.diffusion import Predict, Solver, add_noise, ddim, find_solver
from orchestrion.sampling.guidance import clipping, guided, invert, keeping, resampled, slerp, switching, windowed
from orchestrion.sampling.numbers import check_from_zero, check_led_away, check_steps
from orchestrion.sampling.parameterisations import Parameterisation, Prediction, PredictsV
from orchestrion.sampling.paths import Angle, Level, Path, spread
from orchestrion.sampling.schedules import Schedule, find_schedule

TOGETHER = {"cpu": 1}  # windows of a long clip that are predicted at once, by device
TOGETHER_ELSEWHERE = 16


@dataclass(frozen=True)
class DiffusionOptions:
    """How a diffusion model is sampled."""

    steps: int = 32
    solver: str = "dpm-2m"  # ddim, ddpm, euler, heun, dpm-2m or adpm2
    schedule: str = "even"  # even, karras or log-snr
    eta: float | None = None  # of ddim: 0 draws no noise while sampling, 1 as much as ddpm
    cfg_scale: float = 1.0  # above 1: the prompt steers more strongly
    guide_scale: float | None = None  # away from the guide, if there is one: 1 leaves it out; None: as it was made for
    guide_until: float | None = None  # by the steps that begin before this share of the path is gone; None: likewise
    resamples: int = 1  # in-painting: how often each step is taken
    loop: bool = False  # the end runs into the beginning

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_from_zero("eta", self.eta)
        check_from_zero("cfg_scale", self.cfg_scale)
        check_from_zero("guide_scale", self.guide_scale)
        check_from_zero("guide_until", self.guide_until)
        if not 1 <= self.resamples <= 1000:
            raise UserError(f"resamples is a whole number from 1 to 1000, not {self.resamples}")


class DiffusionConfig(GeneratorConfig):
    of_use = frozenset({"guide", "guide_scale", "guide_until"})

    net: DenoiserConfig
    guide: DenoiserConfig | None = None  # a smaller network that learns beside it, for sampling to be led away from
    path: Path = Angle()
    parameterisation: Parameterisation = PredictsV()
    context: int = 256  # frames that the network sees at once
    overlap: int = 64  # frames that windows share where a clip is longer
    limit: float | None = None  # bound of the predicted data, where the data are bounded
    keep_noise: bool = False  # bounding the data leaves the predicted noise alone, as diffusers' DDIM does
    guide_scale: float = 2.5  # where there is a guide, and a sampling's options don't say
    guide_until: float = 0.4  # likewise; on mel images it adds contrast where it leads longer
    noise: Literal["frames", "columns"] = "frames"  # a seed's noise is drawn frame by frame, or as an image of columns

    def build(self, space: Space, conditioner: Conditioner | None) -> "DiffusionGenerator":
        return DiffusionGenerator(self, space, conditioner)


class DiffusionGenerator(Generator):
    capabilities: ClassVar[frozenset[str]] = frozenset({"continue", "inpaint", "vary", "interpolate", "loop"})
    options: ClassVar[type] = DiffusionOptions

    def __init__(self, config: DiffusionConfig, space: Space, conditioner: Conditioner | None) -> None:
        super().__init__()
        if not isinstance(space, Continuous):
            raise UserError(f"diffusion models continuous latents; this codec makes {space}")
        self.net = config.net.build(space, conditioner)
        self.guide = config.guide.build(space, conditioner) if config.guide else None
        if conditioner is not None and not self.net.accepts & conditioner.fills:
            raise UserError(f"{type(self.net).__name__} takes {_words(self.net.accepts)} and the conditioner gives "
                            f"{_words(conditioner.fills)}: choose a network that takes one of these")
        multiple = math.lcm(*(net.multiple_of for net in (self.net, self.guide) if net is not None))
        if config.context % multiple or not 0 < config.overlap < config.context:
            raise UserError(f"the context must be a multiple of {multiple} frames, with a smaller overlap; "
                            f"got {config.context} and {config.overlap}")
        config.parameterisation.check(config.path)
        self.config, self.space = config, space
        self.multiple_of = self.loop_of = multiple

    # Training and sampling share these

    def output(self, x: Tensor, time: Tensor, alpha: Tensor, sigma: Tensor, conditioning: Conditioning,
               net: Denoiser | None = None) -> Tensor:
        """The network's raw output at x `[b …]`; time, α, σ `[b]`. net: a prepared copy of it, or the guide."""
        a, s = spread(alpha, x), spread(sigma, x)
        entered, told = self.config.parameterisation.enter(x, time, a, s)
        told = torch.as_tensor(told, device=x.device).reshape(-1).float()
        return (net or self.net)(entered, told, conditioning).float()

    def predict(self, conditioning: Conditioning, net: Denoiser | None = None) -> Predict:
        """The network as solvers want it; x may hold several windows of each clip of the conditioning."""
        repeated: dict[int, Conditioning] = {}

        def inner(x: Tensor, level: Level) -> Prediction:
            if len(x) not in repeated:
                repeated[len(x)] = conditioning.for_rows(len(x))
            time, alpha, sigma = (x.new_full((len(x),), v) for v in (level.time, level.alpha, level.sigma))
            output = self.output(x, time, alpha, sigma, repeated[len(x)], net)
            return self.config.parameterisation.read(output, x, level.alpha, level.sigma)

        return inner

    # Sampling

    @torch.no_grad()
    def sample(self, frames: int, conditioning: Conditioning, seeds: list[int],
               options: DiffusionOptions | None = None, edit: Edit | None = None,
               progress: Progress | None = None) -> Tensor:
        options = options or DiffusionOptions()
        rngs = clip_generators(seeds)
        draw = partial(self._draw, rngs, frames)
        noise = draw()
        schedule = find_schedule(options.schedule)(self.config.path, options.steps)
        predict = self._prediction(conditioning, options)
        if edit is None:
            return self.solve(predict, noise, schedule, options, draw, progress)
        source, keep = edit.source.to(noise), edit.keep.to(noise.device)
        keep = keep[:, None] if keep.ndim == noise.ndim - 1 else keep[:, None, None]
        schedule = schedule.from_strength(edit.strength)
        full = edit.strength >= 1
        start = beginning(noise, schedule) if full else add_noise(source, noise, schedule.levels[0])
        made = self.solve(keeping(predict, source, noise, keep), start, schedule, options, draw, progress, True)
        return torch.where(keep, source, made)

    @torch.no_grad()
    def interpolate(self, first: Tensor, second: Tensor, shares: list[float], conditioning: Conditioning,
                    options: DiffusionOptions | None = None, progress: Progress | None = None) -> Tensor:
        """Between two clips, latents `[1 …]` each: by the noises that lead to them (DDIM inverted), on the great circle
        between these. -> one clip for every share, 0 being the first clip and 1 the second."""
        options = options or DiffusionOptions()
        schedule = find_schedule(options.schedule)(self.config.path, options.steps)
        predict = self._prediction(conditioning, options)
        steps, work = schedule.steps, (lambda done: progress(done)) if progress else None
        both = torch.cat([first, second]).to(next(self.parameters()).device)
        ends = invert(predict, both, schedule, (lambda i: work(0.75 * i / steps)) if work else None)
        noise = torch.cat([slerp(ends[:1], ends[1:], share) for share in shares])
        solver = find_solver("euler")
        return solver(predict, noise, schedule, lambda: torch.zeros_like(noise),
                      (lambda i: work(0.75 + 0.25 * i / steps)) if work else None)

    def solve(self, predict: Predict, x: Tensor, schedule: Schedule, options: DiffusionOptions, draw,
              progress: Progress | None = None, begun: bool = False) -> Tensor:
        """From noise `[b …]` (or, with `begun`, from x at the schedule's first level) to latents."""
        solver: Solver = find_solver(options.solver)
        if options.eta is not None:
            if options.solver != "ddim":
                raise UserError(f"eta belongs to the solver ddim, and {options.solver} was asked for: leave one out")
            solver = partial(ddim, eta=options.eta)
        if begun:
            solver = resampled(solver, options.resamples)
        else:
            x = beginning(x, schedule)
        return solver(predict, x, schedule, draw, (lambda i: progress(i / schedule.steps)) if progress else None)

    def _prediction(self, conditioning: Conditioning, options: DiffusionOptions) -> Predict:
        """The network with all that the options wrap round it, for clips of any length."""
        net = self.net.prepared()
        predict = self.predict(conditioning, net)
        check_led_away(conditioning.negated, options.cfg_scale)
        if self.net.accepts and options.cfg_scale != 1:
            predict = guided(predict, self.predict(self.net.null(conditioning), net), options.cfg_scale)
        if self.guide is not None:
            scale = self.config.guide_scale if options.guide_scale is None else options.guide_scale
            led = guided(predict, self.predict(conditioning, self.guide.prepared()), scale)
            until = self.config.guide_until if options.guide_until is None else options.guide_until
            predict = switching(led, predict, self.config.path.end * (1 - until))
        elif options.guide_scale not in (None, 1):
            raise UserError("this model has no guide to be led away from: leave guide_scale out")
        if self.config.limit is not None:
            predict = clipping(predict, self.config.limit, self.config.keep_noise)
        together = TOGETHER.get(next(self.parameters()).device.type, TOGETHER_ELSEWHERE)
        return windowed(predict, self.config.context, self.config.overlap, options.loop, together)

    def _draw(self, rngs: list[torch.Generator], frames: int) -> Tensor:
        """Noise `[b d (f) n]`, time first in each generator's stream, so that a longer clip begins alike."""
        bands = () if self.space.bands is None else (self.space.bands,)
        if self.config.noise == "columns":  # channel by channel: what diffusers' AudioLDM draws
            noise = clip_noise(rngs, self.space.channels, frames, *bands).movedim(2, -1)
        else:
            noise = clip_noise(rngs, frames, *bands, self.space.channels).transpose(1, -1)
        return noise.contiguous().to(next(self.parameters()).device)


def beginning(noise: Tensor, schedule: Schedule) -> Tensor:
    """x at the schedule's first level where nothing is known but that data have unit variance."""
    level = schedule.levels[0]
    return (level.alpha**2 + level.sigma**2) ** 0.5 * noise


def _words(slots: frozenset[str]) -> str:
    return ", ".join(sorted(slots)) or "no prompt"
