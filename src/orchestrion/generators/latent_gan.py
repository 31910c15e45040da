"""Musika's latent GAN: any length of latents in parallel windows (Pasini & Schlüter, ISMIR 2022).

    anchors ── interpolate ──► coordinates ┐
    style vector, constant over a piece ───┴─► halves of a window ──► generator, each by itself ──► latents [b d n]

A coordinate says where in its piece a step is: neighbouring windows share an anchor, so they fit together. A window
of `latlen` steps is made in two halves that know nothing of each other; the critic sees both, so it judges the seam,
and seams are all alike: a piece is as long as wanted. Layers, names and widths follow the authors' 44.1 kHz code
(github.com/marcoppasini/musika, models.py); `latlen` 256 is their network, 128 their `--small` one.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, pad, silu

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
from orchestrion.nn.latent_critic import HALF, START, LatentCritic, Same, init_he
from orchestrion.sampling.clips import clip_generators
from orchestrion.sampling.numbers import check_above_zero

AT_ONCE = 32  # halves generated at a time

Noise = Callable[[int], Tensor]
"""Steps n -> normal numbers `[b n]`, new ones on every call."""


@dataclass(frozen=True)
class GanOptions:
    """variety: bound of the normal numbers that anchors and style are drawn from (the authors' "truncation", of which
    they offer 0.1 to 3.9). loop: the piece repeats itself every `latlen` steps without a seam."""

    variety: float = 2.0
    loop: bool = False

    def __post_init__(self) -> None:
        check_above_zero("variety", self.variety)


class LatentGanConfig(GeneratorConfig):
    base_channels: int = 128
    latlen: int = 256  # steps in a training window: a power of two
    coordinates: int = 64
    style: int = 64
    multipliers: tuple[int, ...] = (7, 6, 5, 4, 3, 2)  # of base_channels, generator, coarse to fine
    critic_multipliers: tuple[int, ...] = (3, 4, 5, 6, 7, 7)  # critic, fine to coarse; the last one repeats

    def build(self, space: Space, conditioner: Conditioner | None) -> "LatentGan":
        if not isinstance(space, Continuous) or space.bands is not None:
            raise UserError(f"the latent GAN models latents [b d n], not {space}: give it a codec without bands "
                            "or codebooks")
        extra = 0
        if conditioner is not None:
            if not conditioner.fills & LatentGan.accepts:
                raise UserError(f"the latent GAN takes {' or '.join(sorted(LatentGan.accepts))}, and "
                                f"{type(conditioner).__name__} fills {', '.join(sorted(conditioner.fills))}")
            extra = int(getattr(conditioner, "width", 0))
        return LatentGan(self, space.channels, extra)


class LatentGan(Generator):
    """channels: of the latents. extra: of the conditioning, added to every step's coordinate."""

    accepts = frozenset({"vector", "frames"})
    capabilities = frozenset({"loop"})
    options = GanOptions

    def __init__(self, config: LatentGanConfig, channels: int, extra: int = 0) -> None:
        super().__init__()
        self.config, self.channels, self.extra = config, channels, extra
        self.latlen, self.half_length = config.latlen, config.latlen // 2
        self.loop_of = self.latlen
        if self.latlen < 4 * START or self.latlen & (self.latlen - 1):
            raise UserError(f"latlen must be a power of two and at least {4 * START}, got {self.latlen}")
        self.spacing = self.latlen * 3 // 2  # steps between anchors
        inputs = config.coordinates + config.style + extra
        widths = [config.base_channels * m for m in config.multipliers]
        self.net = HalfGenerator(inputs, channels, widths, self.half_length)

    def critic(self) -> "LatentCritic":
        """A new critic to train this generator against."""
        widths = [self.config.base_channels * m for m in self.config.critic_multipliers]
        return LatentCritic(self.channels + self.extra, widths, self.latlen)

    def per_step(self, conditioning: Conditioning, steps: int) -> Tensor | None:
        """The conditioning of every step `[b e n]`: frames as they are, the last one held; a vector repeated."""
        if not self.extra:
            return None
        if conditioning.frames is not None:
            frames = conditioning.frames[..., :steps]
            return pad(frames, (0, steps - frames.shape[-1]), mode="replicate")
        if conditioning.vector is None:
            raise UserError("this generator was trained with conditioning and got none")
        return conditioning.vector[..., None].expand(-1, -1, steps)

    def imagine(self, count: int, extra: Tensor | None = None) -> Tensor:
        """Windows for training `[b d latlen]`, from torch's own random state. extra: `[b e latlen]`."""
        device = next(self.parameters()).device
        anchors = torch.randn(count, self.config.coordinates, 3, device=device)
        style = torch.randn(count, self.config.style, 1, device=device)
        # Crops begin so that an anchor lies in the middle of a half (utils.py, crop_coordinate).
        crop = torch.randint(self.spacing // self.half_length, (count, 1), device=device)
        start = self.latlen // 4 + self.half_length * crop
        steps = start + torch.arange(self.latlen, device=device)
        x = torch.cat([along(anchors, steps, self.spacing), style.expand(-1, -1, self.latlen)], 1)
        x = x if extra is None else torch.cat([x, extra], 1)
        x = rearrange(x, "b e (h n) -> (b h) e n", h=2)
        made = self.net(x, lambda n: torch.randn(len(x), n, device=device))
        return rearrange(made, "(b h) d n -> b d (h n)", h=2)

    @torch.no_grad()
    def sample(self, frames: int, conditioning: Conditioning, seeds: list[int], options: GanOptions | None = None,
               edit: Edit | None = None, progress: Progress | None = None) -> Tensor:
        """-> latents `[b d frames]`; the beginning of a clip doesn't depend on its length."""
        options = options or GanOptions()
        if edit is not None:
            raise UserError("the latent GAN can't edit: it can only generate and loop")
        if frames < 1:
            raise UserError(f"a piece needs at least one latent frame, got {frames}")
        halves = 2 if options.loop else math.ceil(frames / self.half_length)
        x, noise = self._inputs(halves, seeds, options)
        extra = self.per_step(conditioning, halves * self.half_length)
        if extra is not None:
            x = torch.cat([x, extra.cpu().float()], 1)
        rows = rearrange(x, "b e (h n) -> (b h) e n", h=halves)
        weight = next(self.parameters())
        made = []
        for some, table in zip(rows.split(AT_ONCE), noise.flatten(0, 1).split(AT_ONCE)):
            made.append(self.net(some.to(weight), Slices(table.to(weight))).float())
            if progress is not None:
                progress(sum(map(len, made)) / len(rows))
        latents = rearrange(torch.cat(made), "(b h) d n -> b d (h n)", h=halves)
        if options.loop:
            latents = latents.repeat(1, 1, math.ceil(frames / self.latlen))
        return latents[..., :frames]

    def _inputs(self, halves: int, seeds: Sequence[int], options: GanOptions) -> tuple[Tensor, Tensor]:
        """Coordinates and style of each clip `[b e halves·half]`, and the net's noise `[b halves samples]`."""
        steps = torch.arange(halves * self.half_length)
        if options.loop:  # two anchors in turn, a half apart
            spacing, steps, anchors = self.half_length, steps + self.half_length, 2
        else:
            spacing, steps = self.spacing, steps + self.latlen // 4
            anchors = int(steps[-1]) // spacing + 2
        inputs, noise = [], []
        for generator in clip_generators(seeds):
            second = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
            style = truncated_normal((self.config.style, 1), options.variety, generator)
            drawn = [truncated_normal((self.config.coordinates,), options.variety, generator)
                     for _ in range(anchors)]
            points = torch.stack(drawn * 2 if options.loop else drawn, -1)
            inputs.append(torch.cat([along(points[None], steps[None], spacing)[0],
                                     style.expand(-1, len(steps))]))
            noise.append(torch.stack([torch.randn(self.net.noise, generator=second) for _ in range(halves)]))
        return torch.stack(inputs), torch.stack(noise)


def along(anchors: Tensor, steps: Tensor, spacing: int) -> Tensor:
    """anchors `[b e a]`, `spacing` steps apart, at `steps` `[b n]` -> `[b e n]`.

    Linear, taken half a step late: the authors average neighbours so that an even window has its anchor in the
    middle (utils.py, center_coordinate).
    """
    segment = steps // spacing
    share = ((steps % spacing + 0.5) / spacing)[:, None]
    index = segment[:, None].expand(-1, anchors.shape[1], -1)
    return anchors.gather(2, index).lerp(anchors.gather(2, index + 1), share.to(anchors.dtype))


def truncated_normal(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    """Standard normal numbers given that they lie in [-bound, bound], by the inverse distribution function."""
    reach = math.erf(bound / math.sqrt(2))
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (torch.erfinv((2 * uniform - 1) * reach) * math.sqrt(2)).clamp(-bound, bound).float()


class Slices:
    """Noise that was drawn before: `[b samples]`, handed out layer by layer."""

    def __init__(self, table: Tensor) -> None:
        self.table, self.at = table, 0

    def __call__(self, steps: int) -> Tensor:
        self.at += steps
        return self.table[:, self.at - steps : self.at]


# Generator


class HalfGenerator(nn.Module):
    """Coordinates `[b e half]` -> latents `[b d half]`, from 4 steps up; each scale is told its own coordinates.

    widths: coarse to fine. Stages that aren't needed to reach `half` keep the length, with 1-tap convolutions.
    """

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int], half: int) -> None:
        super().__init__()
        doublings = int(math.log2(half // START))
        if len(widths) - 1 < doublings:
            raise UserError(f"a window of {2 * half} steps needs at least {doublings + 1} multipliers, "
                            f"got {len(widths)}")
        level = len(widths) - 1 - doublings  # stages that don't double
        self.enter = nn.Linear(2 * inputs, START * widths[0])
        self.modulate = Modulate(inputs, widths[0])
        pairs = list(itertools.pairwise(widths))
        self.stages = nn.ModuleList(
            Stage(a, b, inputs, double=i >= level) for i, (a, b) in enumerate(pairs[:-1])
        )
        last, width = pairs[-1]
        self.last = Resample(last, width, double=doublings > 0)
        self.last_modulate = Modulate(inputs, width)
        self.leave = Same(width, outputs, 4)
        lengths = [START * 2 ** max(0, i - level + 1) for i in range(len(pairs))]
        self.noise = START + 2 * sum(lengths[:-1]) + lengths[-1]  # normal numbers that a half needs
        init_he(self)

    def forward(self, x: Tensor, noise: Noise) -> Tensor:
        scales = {x.shape[-1]: x}  # the coordinates, averaged by 2 again and again, by length
        while min(scales) > START // 2:
            scales[min(scales) // 2] = avg_pool1d(scales[min(scales)], 2)
        h = self.enter(scales[START // 2].mT.flatten(1)).unflatten(1, (START, -1)).mT
        h = silu(self.modulate(h, scales[START], noise))
        for stage in self.stages:
            h = stage(h, scales, noise)
        h = self.last(h)
        return self.leave(silu(self.last_modulate(h, scales[h.shape[-1]], noise)))


class Stage(nn.Module):
    """Two convolutions, the first of which doubles the length, beside a pixel-shuffled shortcut."""

    def __init__(self, inputs: int, outputs: int, coordinates: int, double: bool) -> None:
        super().__init__()
        self.doubles = double
        self.first, self.first_modulate = Resample(inputs, outputs, double), Modulate(coordinates, outputs)
        self.second, self.second_modulate = Same(outputs, outputs, 4 if double else 1), Modulate(coordinates, outputs)
        self.shortcut = nn.Conv1d(inputs // 2 if double else inputs, outputs, 1)

    def forward(self, x: Tensor, scales: dict[int, Tensor], noise: Noise) -> Tensor:
        h = self.first(x)
        h = HALF * silu(self.first_modulate(h, scales[h.shape[-1]], noise))
        h = HALF * silu(self.second_modulate(self.second(h), scales[h.shape[-1]], noise))
        side = rearrange(x, "b (c s) n -> b c (n s)", s=2) if self.doubles else x
        return h + self.shortcut(side)


class Modulate(nn.Module):
    """Noise with a learned gain; then divided by its deviation over time and multiplied by a projection of the
    coordinates. Unlike adaptive instance normalisation, the mean stays (models.py, adain)."""

    def __init__(self, coordinates: int, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(1))
        self.scale = nn.Conv1d(coordinates, channels, 1)

    def forward(self, x: Tensor, coordinates: Tensor, noise: Noise) -> Tensor:
        x = x + (self.gain * noise(x.shape[-1])).to(x.dtype)[:, None]
        exact = x.float()
        variance = (exact - exact.mean(-1, keepdim=True)).square().mean(-1, keepdim=True)  # ten times as fast as var()
        deviation = variance.clamp_min(1e-12).sqrt() + 1e-5
        return x / deviation.to(x.dtype) * self.scale(coordinates)


class Resample(nn.Sequential):
    """A transposed convolution that doubles the length, or a 1-tap one that keeps it."""

    def __init__(self, inputs: int, outputs: int, double: bool) -> None:
        super().__init__(nn.ConvTranspose1d(inputs, outputs, 4, 2, 1) if double else nn.Conv1d(inputs, outputs, 1))
