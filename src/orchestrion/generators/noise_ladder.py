"""Autoregressive diffusion: music without end from a window whose parts are at different noise levels.

    split:   1      2      3      4   |   5      6      7      8
    noise:   0      0      0      0   |  0.2    0.4    0.6    1      a ladder; a pass moves each one rung down,
                                                                     split 5 is done, and fresh noise comes in behind

audio-diffusion-pytorch 0.1.3's DiffusionAR (ARVDiffusion, ARVSampler), weight by weight: a U-Net that is told each
sample's noise as a channel of its own, and no time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

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
from orchestrion.nn.unet1d import UNet1d, UNet1dConfig
from orchestrion.sampling.clips import clip_generators, clip_noise
from orchestrion.sampling.numbers import check_steps
from orchestrion.sampling.parameterisations import PredictsV
from orchestrion.sampling.paths import Angle


@dataclass(frozen=True)
class LadderOptions:
    """How a noise ladder is sampled."""

    steps: int = 64  # evaluations of the first window; each further split takes steps / splits

    def __post_init__(self) -> None:
        check_steps(self.steps)


class NoiseLadderConfig(GeneratorConfig):
    levels: UNet1dConfig  # with features=0
    length: int  # frames of the window
    splits: int = 16  # even; the ladder stands on the second half of them, the first is context

    def build(self, space: Space, conditioner: Conditioner | None) -> "NoiseLadder":
        return NoiseLadder(self, space, conditioner)


class NoiseLadder(Generator):
    capabilities: ClassVar[frozenset[str]] = frozenset({"continue"})
    options: ClassVar[type] = LadderOptions

    def __init__(self, config: NoiseLadderConfig, space: Space, conditioner: Conditioner | None) -> None:
        super().__init__()
        if not isinstance(space, Continuous) or space.bands is not None:
            raise UserError(f"a noise ladder models waveforms and latents [b d n]; this codec makes {space}")
        if conditioner is not None:
            raise UserError("a noise ladder takes no conditioner")
        if config.levels.features:
            raise UserError("a noise ladder's U-Net is told no time: set its features to 0")
        if config.splits % 2 or config.length % config.splits or config.length % config.levels.multiple_of:
            raise UserError(f"a noise ladder's length must be a multiple of its even number of splits and of "
                            f"{config.levels.multiple_of}, got {config.length} and {config.splits}")
        self.config, self.channels = config, space.channels
        self.split = config.length // config.splits
        self.net = UNet1d(config.levels, space.channels + 1, space.channels)
        self.path, self.parameterisation = Angle(), PredictsV()

    def output(self, x: Tensor, times: Tensor) -> Tensor:
        """v `[b d n]` at x `[b d n]`, of which each frame has its own time `[b 1 n]`."""
        return self.net(torch.cat([x, times.expand(len(x), -1, -1).to(x.dtype)], 1)).float()

    # Sampling

    @torch.no_grad()
    def sample(self, frames: int, conditioning: Conditioning, seeds: list[int], options: LadderOptions | None = None,
               edit: Edit | None = None, progress: Progress | None = None) -> Tensor:
        """An edit keeps a beginning of at least half a window, which is continued."""
        options = options or LadderOptions()
        config, half, place = self.config, self.config.splits // 2, next(self.parameters())
        if options.steps < config.splits:
            raise UserError(f"a noise ladder of {config.splits} splits takes at least as many steps, got "
                            f"{options.steps}")
        rngs = clip_generators(seeds)

        def draw(splits: int) -> Tensor:
            return clip_noise(rngs, splits * self.split, self.channels).mT.contiguous().to(place)

        rungs = self.rungs(options.steps // config.splits)
        wanted = -(-frames // self.split)
        known = None if edit is None else self._beginning(edit)
        if known is None:
            start = self.descend(draw(config.splits), torch.linspace(1, 0, options.steps + 1)[:, None].expand(
                -1, config.splits))
            made = list(self.noised(start, draw(config.splits), rungs[0]).chunk(config.splits, -1))
        else:
            made = list(known.to(place).chunk(known.shape[-1] // self.split, -1))
            # down from pure noise to the ladder's first stand, beside the end of what is known
            window = torch.cat([*made[-half:], draw(half)], -1)
            descent = 1 - torch.linspace(0, 1, options.steps + 1)[:, None] * (1 - rungs[0])
            descent[:, :half] = 0
            made += list(self.descend(window, descent).chunk(config.splits, -1))[half:]
        while (done := len(made) - half) < wanted:
            window = self.descend(torch.cat(made[-config.splits :], -1), rungs)
            made[-config.splits :] = list(window.chunk(config.splits, -1))
            made.append(draw(1))
            if progress:
                progress(min(1.0, (done + 1) / wanted))
        made_all = torch.cat(made[:wanted], -1)[..., :frames]
        if edit is None:
            return made_all
        return torch.where(edit.keep[:, None].to(place.device), edit.source.to(made_all), made_all)

    def rungs(self, steps: int) -> Tensor:
        """Times `[steps + 1 splits]` of one pass: at its end every split stands where the one before it stood."""
        half = self.config.splits // 2
        ladder = torch.linspace(1, 0, steps * half).unflatten(0, (half, steps)).flip(0).mT
        last = torch.cat([ladder.new_zeros(1), ladder[0, :-1]])[None]
        ladder = torch.cat([ladder, last])
        return torch.cat([torch.zeros_like(ladder), ladder], 1)

    def descend(self, x: Tensor, times: Tensor | Sequence[Tensor]) -> Tensor:
        """A window `[b d length]` down the times `[steps + 1 splits]`, by DDIM split by split."""
        for now, then in pairwise(times):
            time, alpha, sigma = self._levels(now, x)
            _, next_alpha, next_sigma = self._levels(then, x)
            data, noise = self.parameterisation.read(self.output(x, time), x, alpha, sigma)
            x = next_alpha * data + next_sigma * noise
        return x

    def noised(self, data: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The data `[b d length]`, each split with as much noise as its time `[splits]` has."""
        _, alpha, sigma = self._levels(times, data)
        return alpha * data + sigma * noise

    def _levels(self, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Times `[splits]` -> times, α and σ for every frame, `[1 1 length]`."""
        spread = times.repeat_interleave(self.split).view(1, 1, -1)
        alpha, sigma = self.path.scales(spread)
        return spread.to(like), alpha.to(like), sigma.to(like)

    def _beginning(self, edit: Edit) -> Tensor:
        """The whole splits that the edit keeps at its beginning."""
        kept = int(edit.keep.all(0).long().cumprod(0).sum()) // self.split
        least = self.config.splits // 2
        if kept < least:
            raise UserError(f"a noise ladder continues a beginning of at least {least * self.split} frames; this one "
                            f"has {kept * self.split}: give it more, or generate anew")
        return edit.source[..., : kept * self.split]
