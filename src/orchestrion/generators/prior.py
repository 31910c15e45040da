"""The autoregressive prior that RAVE was published with (Caillon & Esling 2021, §5.2; rave/prior/model.py): frame after
frame of latents by a causal WaveNet (van den Oord et al. 2016), from nothing or after a beginning.

    z ── its share under the normal curve, in steps ──► levels ── component i set back i frames ──► columns
    columns so far ── WaveNet ──► how likely each level of the next column is ── draw, within its step ──► z

Setting back lets each component know the more important ones of its own frame. A codec's tokens are levels already, so
that the same network plays the discrete RAVE. What the network hears lies in its state, so a piece needs no more memory
the longer it becomes, and sound can be given out as it is made.

Levels enter by tables, summed over components, where the reference joins groups of one-hot vectors: so any number of
components fits any width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.contracts import (
    Conditioner,
    Conditioning,
    Continuous,
    Discrete,
    Edit,
    Generator,
    GeneratorConfig,
    Progress,
    Space,
)
from orchestrion.errors import UserError
from orchestrion.nn.streaming import Conv
from orchestrion.sampling.clips import clip_generators
from orchestrion.sampling.numbers import check_from_zero

FURTHEST = 4.0  # deviations; the ends of the outermost steps


@dataclass(frozen=True)
class PriorOptions:
    """temperature: 1 draws as learnt, below plays safer; 0 takes the likeliest."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_from_zero("temperature", self.temperature)


class PriorConfig(GeneratorConfig):
    """As published. Dilations 1, 2, 4 … begin again after every `cycle` layers."""

    levels: int = 32  # that a latent is rounded to; tokens have their own number
    width: int = 512
    skip: int = 256
    layers: int = 10
    cycle: int = 4
    taps: int = 3

    def build(self, space: Space, conditioner: Conditioner | None) -> "Prior":
        return Prior(self, space, conditioner)


class Prior(Generator):
    capabilities: ClassVar[frozenset[str]] = frozenset({"continue"})
    options: ClassVar[type] = PriorOptions

    def __init__(self, config: PriorConfig, space: Space, conditioner: Conditioner | None) -> None:
        super().__init__()
        if isinstance(space, Continuous) and space.bands is not None:
            raise UserError(f"the prior models latents [b d n] or tokens [b k n]; this codec makes {space}")
        if conditioner is not None:
            raise UserError("the prior takes no conditioning: leave out the conditioner, or use a flow")
        if isinstance(space, Discrete):
            self.components, self.levels = space.codebooks, space.size
        else:
            self.components, self.levels = space.channels, config.levels
        if self.levels < 2:
            raise UserError(f"the prior needs at least 2 levels, got {self.levels}")
        self.config, self.discrete = config, isinstance(space, Discrete)
        self.nothing = self.levels  # what stands before the beginning and behind the end
        self.table = nn.Embedding(self.components * (self.levels + 1), config.width)
        nn.init.normal_(self.table.weight, std=self.components**-0.5)
        self.enter = Conv(config.width, config.width, config.taps, causal=True)
        self.layers = nn.ModuleList(_Layer(config, 2 ** (i % config.cycle)) for i in range(config.layers))
        self.middle = Conv(config.skip, config.skip, 1, causal=True)
        self.leave = Conv(config.skip, self.components * self.levels, 1, causal=True, normed=False)
        self.common = nn.Parameter(torch.zeros(self.components, self.levels))  # how likely each level is at all

    # Latents and columns

    def quantise(self, latents: Tensor) -> Tensor:
        """Standardised latents `[b d n]` -> levels, each as likely as the others under the normal curve; tokens as they
        are."""
        if self.discrete:
            return latents
        share = torch.special.ndtr(latents.float())
        return (share * self.levels).long().clamp(0, self.levels - 1)

    def restore(self, levels: Tensor, within: Tensor) -> Tensor:
        """Levels `[b d n]` -> latents; `within` their step, 0 to 1."""
        if self.discrete:
            return levels
        share = (levels + within.double()) / self.levels
        return torch.special.ndtri(share).clamp(-FURTHEST, FURTHEST).float()

    def columns(self, levels: Tensor) -> Tensor:
        """`[b d n]` -> `[b d n+d-1]`: component i, i columns later."""
        d = self.components
        return torch.stack([nn.functional.pad(levels[:, i], (i, d - 1 - i), value=self.nothing) for i in range(d)], 1)

    def frames(self, columns: Tensor) -> Tensor:
        """The inverse of `columns`."""
        count = columns.shape[-1] - self.components + 1
        return torch.stack([columns[:, i, i : i + count] for i in range(self.components)], 1)

    # The network

    def logits(self, columns: Tensor, past: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Columns `[b d s]` -> of the column behind each, logits `[b d levels s]`; and the state for the next call."""
        new = list[Tensor]()
        offsets = (self.levels + 1) * torch.arange(self.components, device=columns.device)
        entered = self.table(columns + offsets[:, None]).sum(1)  # [b s e]
        x = rearrange(entered, "b s e -> b e 1 s")
        x = nn.functional.leaky_relu(self.enter.stream(x, past or [], new, False), 0.2)
        total = torch.zeros((), device=x.device)
        for layer in self.layers:
            x, skipped = layer(x, past or [], new)
            total = total + skipped
        made = nn.functional.leaky_relu(self.middle.stream(total, past or [], new, False), 0.2)
        made = self.leave.stream(made, past or [], new, False).float()
        made = rearrange(made, "b (d l) 1 s -> b d l s", d=self.components)
        return made + self.common[..., None], new

    def predicted(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents or tokens `[b d n]` -> logits `[b d levels s]` of every column, and what they should have told
        `[b d s]`, `nothing` where there is nothing to tell."""
        wanted = self.columns(self.quantise(latents))
        before = nn.functional.pad(wanted, (1, 0), value=self.nothing)[..., :-1]
        return self.logits(before)[0], wanted

    # Sampling

    @torch.no_grad()
    def sample(self, frames: int, conditioning: Conditioning, seeds: list[int], options: PriorOptions | None = None,
               edit: Edit | None = None, progress: Progress | None = None) -> Tensor:
        """-> latents `[b d frames]` or tokens. edit: its kept frames stay as they are, and are what goes before."""
        options = options or PriorOptions()
        place = self.common.device
        count = frames + self.components - 1
        known = torch.full((len(seeds), self.components, count), self.nothing, device=place)
        begun = 0
        if edit is not None:
            kept = edit.keep.to(place).expand(len(seeds), -1)
            source = self.quantise(edit.source.to(place)).expand(len(seeds), -1, -1)
            known = self.columns(torch.where(kept[:, None], source, self.nothing))
            begun = int(kept.long().cumprod(1).sum(1).min())  # columns of which all is known, heard in one go
        within = _Drawing(seeds, self.components)
        columns = known.clone()
        heard = torch.cat([columns.new_full((*columns.shape[:2], 1), self.nothing), columns[..., :begun]], -1)
        logits, state = self.logits(heard)
        for s in range(begun, count):
            drawn = self._draw(logits[..., -1], within(), options.temperature)
            first, last = max(0, s - frames + 1), min(self.components, s + 1)  # components that this column has
            open_ = known[:, first:last, s] == self.nothing
            columns[:, first:last, s] = torch.where(open_, drawn[:, first:last], known[:, first:last, s])
            if s + 1 < count:
                logits, state = self.logits(columns[..., s : s + 1], state)
            if progress:
                progress((s + 1 - begun) / (count - begun))
        made = self.frames(columns)
        made = self.restore(made, torch.stack([within() for _ in range(frames)], -1).to(place))
        if edit is not None:
            made = torch.where(kept[:, None], edit.source.to(made), made)
        return made

    def _draw(self, logits: Tensor, chance: Tensor, temperature: float) -> Tensor:
        """Logits `[b d levels]`, chance `[b d]` from 0 to 1 -> levels `[b d]`: the first whose sum of shares passes
        it."""
        if temperature == 0:
            return logits.argmax(-1)
        passed = (logits.double() / temperature).softmax(-1).cumsum(-1) < chance.to(logits.device)[..., None]
        return passed.sum(-1).clamp_max(self.levels - 1)


class _Layer(nn.Module):
    """Gated dilated convolution, with a way on and a way out."""

    def __init__(self, config: PriorConfig, dilation: int) -> None:
        super().__init__()
        self.gates = Conv(config.width, 2 * config.width, config.taps, causal=True, dilation=dilation)
        self.on = Conv(config.width, config.width, 1, causal=True)
        self.out = Conv(config.width, config.skip, 1, causal=True)

    def forward(self, x: Tensor, past: list[Tensor], new: list[Tensor]) -> tuple[Tensor, Tensor]:
        gate, value = self.gates.stream(x, past, new, False).chunk(2, 1)
        made = torch.sigmoid(gate) * torch.tanh(value)
        return (x + self.on.stream(made, past, new, False)) * math.sqrt(0.5), self.out.stream(made, past, new, False)


class _Drawing:
    """Even numbers from 0 to 1 `[b d]`, each clip's from its own seed."""

    def __init__(self, seeds: Sequence[int], components: int) -> None:
        self.sources, self.components = clip_generators(seeds), components

    def __call__(self) -> Tensor:
        return torch.stack([torch.rand(self.components, generator=g, dtype=torch.float64) for g in self.sources])
