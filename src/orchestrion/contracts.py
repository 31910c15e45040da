"""The words of the house as types: spaces, prompts, edits, and what every part must do.

Dimension letters, everywhere: `b` batch, `c` audio channels, `t` samples, `d` latent channels,
`f` frequency bands, `n` latent frames, `k` codebooks, `l` prompt tokens, `e` embedding.
Time is always the last axis.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.errors import UserError

Progress = Callable[[float], None]
"""Called with the share of the work done, 0 to 1."""


# Spaces: what a codec makes and a generator models


@dataclass(frozen=True)
class Continuous:
    """Latents `[b d n]`, or `[b d f n]` with `bands`; `rate` in frames per second."""

    channels: int
    rate: float
    bands: int | None = None


@dataclass(frozen=True)
class Discrete:
    """Tokens `[b k n]` below `size`; `rate` is None where durations are lost."""

    codebooks: int
    size: int
    rate: float | None

    def slice(self, start: int, stop: int) -> "Discrete":
        """The space of the codebooks `start` to `stop`."""
        return replace(self, codebooks=stop - start)


Space = Continuous | Discrete


@dataclass(frozen=True)
class Exact:
    """Decoding in chunks equals decoding whole, given `context` latent frames on either side."""

    context: int


@dataclass(frozen=True)
class Windowed:
    """Chunks overlap by `overlap` latent frames and are cross-faded."""

    overlap: int
    seconds: float | None = None  # of sound coded at once, besides the overlap; None: as suits the machine


# Prompts and edits: what a user asks for


@dataclass(frozen=True)
class Prompt:
    """Everything that may steer one clip. `attributes` are numbers: tempo, density, …"""

    text: str | None = None
    negative: str | None = None
    audio: Tensor | None = None
    melody: Tensor | None = None
    lyrics: str | None = None
    artist: str | None = None
    genre: str | None = None
    image: Tensor | None = None
    attributes: Mapping[str, float] = field(default_factory=dict)
    beats: Sequence[float] = ()  # seconds from the clip's beginning, in order; some may lie outside it


@dataclass
class Conditioning:
    """What a conditioner makes of prompts; the slots that it doesn't fill are None."""

    sequence: Tensor | None = None  # [b l e]
    mask: Tensor | None = None  # [b l], True where a token counts
    vector: Tensor | None = None  # [b e]
    frames: Tensor | None = None  # [b e n]
    prefix: Tensor | None = None  # [b l] tokens
    against: "Conditioning | None" = None  # what guidance leads away from: no prompt, or a negative one
    negated: tuple[bool, ...] = ()  # by row: whether that is a negative prompt

    def map(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        """The slots that are filled, each changed; `against` is left out."""
        made = Conditioning()
        for name, slot in self.slots().items():
            setattr(made, name, change(slot))
        return made

    def for_rows(self, rows: int) -> "Conditioning":
        """Itself again and again, until there are so many rows; as it is where there are already."""
        slots = self.slots()
        if not slots or rows == (have := len(next(iter(slots.values())))):
            return self
        return self.map(lambda slot: slot.repeat(rows // have, *[1] * (slot.ndim - 1)))

    def rows(self, chosen: Tensor) -> "Conditioning":
        """The rows where `chosen` `[b]` is True."""
        return self.map(lambda slot: slot[chosen.to(slot.device)])

    def both(self) -> "Conditioning":
        """Its rows, then those of `against`: `[2b …]`, for guidance in one pass."""
        assert self.against is not None
        made, others = Conditioning(), self.against.slots()
        for name, slot in self.slots().items():
            setattr(made, name, torch.cat([slot, others[name]]))
        return made

    def at(self, places: Tensor) -> "Conditioning":
        """What it says of the latent frames at `places` `[n]`: nothing, 0, past the end of `frames`."""
        if self.frames is None:
            return self
        ended = nn.functional.pad(self.frames, (0, 1))
        made = replace(self, frames=ended[..., places.to(ended.device).clamp(max=self.frames.shape[-1])])
        made.against = self.against.at(places) if self.against else None
        return made

    def slots(self) -> dict[str, Tensor]:
        """The slots that are filled, by name."""
        return {name: slot for name, slot in vars(self).items() if isinstance(slot, Tensor)}


@dataclass
class Edit:
    """Keep what `keep` marks of `source`; start the rest from `strength` of noise.

    source: latents `[b d n]` or tokens `[b k n]`. keep: `[b n]`, or in spaces with bands `[b f n]`,
    True where the source stays.
    strength: 0 changes nothing, 1 starts from nothing but noise.
    """

    source: Tensor
    keep: Tensor
    strength: float = 1.0


# Codecs


@dataclass
class Reconstruction:
    """audio `[b c t]`, the latents or tokens it came from, named unweighted losses (KL, commitment …)."""

    audio: Tensor
    latents: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)


class Codec(nn.Module):
    """Audio to latents or tokens, and back.

    Subclasses implement `analyse` and `synthesise` on raw latents. `encode` and `decode` speak
    standardised ones: the codec carries their mean and deviation (`fit`), so that every generator sees
    zero mean and unit variance. Discrete codecs leave the statistics at 0 and 1.
    """

    sample_rate: int
    channels: int
    space: Space
    multiple_of: int  # samples: audio is padded to a multiple of it
    chunking: Exact | Windowed
    mean: Tensor
    deviation: Tensor

    def __init__(self, space: Space, sample_rate: int, channels: int, multiple_of: int,
                 chunking: Exact | Windowed) -> None:
        super().__init__()
        self.space, self.sample_rate, self.channels = space, sample_rate, channels
        self.multiple_of, self.chunking = multiple_of, chunking
        width = space.channels if isinstance(space, Continuous) else 1
        shape = (width, 1, 1) if getattr(space, "bands", None) is not None else (width, 1)  # as latents
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    def analyse(self, audio: Tensor) -> Tensor:
        """audio `[b c t]`, t a multiple of `multiple_of` -> raw latents `[b d n]` or tokens `[b k n]`."""
        raise NotImplementedError

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: Any = None) -> Tensor:
        """Raw latents `[b d n]` or tokens `[b k n]` -> audio `[b c n·multiple_of/frame]`."""
        raise NotImplementedError

    def encode(self, audio: Tensor) -> Tensor:
        """audio `[b c t]` -> standardised latents `[b d n]` or tokens `[b k n]`, n = ceil(t / frame)."""
        latents = self.analyse(self.pad(audio))
        return (latents - self.mean) / self.deviation if isinstance(self.space, Continuous) else latents

    def decode(self, latents: Tensor, length: int | None = None, rng: torch.Generator | None = None,
               options: Any = None) -> Tensor:
        """Standardised latents or tokens -> audio `[b c t]`, trimmed to `length` samples. `rng` and `options` matter
        where the decoder itself samples (DMAE, Griffin-Lim)."""
        if isinstance(self.space, Continuous):
            latents = latents * self.deviation + self.mean
        return self.synthesise(latents, rng, options)[..., :length]

    def forward(self, audio: Tensor) -> Reconstruction:
        """One training pass over audio `[b c t]`: no standardisation, losses named and unweighted."""
        latents = self.analyse(self.pad(audio))
        return Reconstruction(self.synthesise(latents)[..., : audio.shape[-1]], latents)

    def begin(self, batches: Iterable[Tensor]) -> None:
        """Sets what is better taken from data, audio `[b c t]`, than drawn at random: components, codebooks."""

    def begin_decoder(self, batches: Iterable[Tensor]) -> None:
        """The same for a new decoder behind an encoder that is trained and stays."""

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Set what can only be known after training: here the mean and deviation of the latents.

        batches: audio `[b c t]`.
        """
        if isinstance(self.space, Discrete):
            return
        count = 0
        total = square = torch.zeros((), dtype=torch.float64)
        for audio in batches:
            latents = self.analyse(self.pad(audio)).double().transpose(0, 1).flatten(1)
            count, total = count + latents.shape[1], total + latents.sum(1)
            square = square + latents.square().sum(1)
        if count == 0:
            raise UserError("no audio was given to measure the codec's latents on")
        mean = total / count
        self.mean.copy_(mean.view_as(self.mean))
        self.deviation.copy_((square / count - mean**2).clamp_min(1e-8).sqrt().view_as(self.mean))

    def settle(self, config: "CodecConfig") -> "CodecConfig":
        """The config that generators over this codec are to be built with, now that it is fitted: RAVE's rank."""
        return config

    def pad(self, audio: Tensor) -> Tensor:
        """Zeros at the end, up to a multiple of `multiple_of` samples."""
        return nn.functional.pad(audio, (0, -audio.shape[-1] % self.multiple_of))

    @property
    def frame(self) -> int:
        """Samples per latent frame."""
        assert self.space.rate is not None
        return round(self.sample_rate / self.space.rate)


# Conditioners and generators


class Conditioner(nn.Module):
    """Prompts to conditioning. `fills` names the slots of `Conditioning` that it sets, `width` is their e.

    `Prompt()` is the null prompt, which dropped prompts become.
    """

    fills: ClassVar[frozenset[str]]
    hears: frozenset[str] = frozenset({"text"})  # "text", names of attributes: nothing else but sound counts
    width: int

    def width_of(self, slot: str) -> int:
        """The e of one of the slots, where they are not all alike."""
        return self.width

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        raise NotImplementedError

    def guided(self, prompts: Sequence[Prompt]) -> Conditioning:
        """`forward`, with what guidance leads away from: each prompt's negative, or the null prompt."""
        made, b = self([*prompts, *(Prompt(text=p.negative) for p in prompts)]), len(prompts)
        guided = made.map(lambda slot: slot[:b])
        guided.against = made.map(lambda slot: slot[b:])
        guided.negated = tuple(bool((p.negative or "").strip()) for p in prompts)
        return guided

    def check(self, prompt: Prompt) -> None:
        """Raises UserError where a user's prompt asks for what lies far outside of all that was trained on."""

    def complete(self, prompt: Prompt, seconds: float, seed: int, loop: bool = False) -> Prompt:
        """The prompt of a clip of so many seconds, with what it leaves open settled: drawn from the seed. loop: so that
        it goes round."""
        return prompt

    def fit(self, prompts: Iterable[Prompt]) -> None:
        """Measures what it must know of a corpus's prompts (ranges of numbers, a vocabulary), before training."""

    def fit_further(self, prompts: Iterable[Prompt]) -> None:
        """Takes in what a further corpus's prompts have that it doesn't know, before it is trained on them; what it
        knows stays as it is."""


class Generator(nn.Module):
    """Conditioning to latents or tokens. Built from a space; refuses one that it can't model."""

    accepts: ClassVar[frozenset[str]] = frozenset()  # slots of Conditioning
    options: ClassVar[type] = type(None)  # the family's dataclass of sampling options, with defaults
    capabilities: ClassVar[frozenset[str]] = frozenset()  # "continue", "inpaint", "vary", "loop", …
    multiple_of: int = 1  # frames
    loop_of: int = 1  # frames: with the capability "loop", loops are a multiple of it

    def sample(self, frames: int, conditioning: Conditioning, seeds: list[int], options: Any = None,
               edit: Edit | None = None, progress: Progress | None = None) -> Tensor:
        """-> latents `[b d n]` or tokens `[b k n]` with b = len(seeds), n = frames.

        One seed per clip: a clip is the same alone and in a batch.
        """
        raise NotImplementedError

    def interpolate(self, first: Tensor, second: Tensor, shares: list[float], conditioning: Conditioning,
                    options: Any = None, progress: Progress | None = None) -> Tensor:
        """With the capability "interpolate": what lies between two clips' latents `[1 …]`, one clip for every share
        from 0 (the first) to 1 (the second)."""
        raise NotImplementedError


# Training


@dataclass
class Batch:
    """What a stage trains on: audio `[b c t]`, or the latents `[b d n]` of a frozen codec, with prompts."""

    audio: Tensor | None = None
    latents: Tensor | None = None
    prompts: list[Prompt] = field(default_factory=list)

    def to(self, device: torch.device) -> "Batch":
        return self.map(lambda x: x.to(device), self.prompts)

    def map(self, change: Callable[[Tensor], Tensor], prompts: list[Prompt]) -> "Batch":
        """A batch of the changed tensors with `prompts`."""
        audio, latents = (x if x is None else change(x) for x in (self.audio, self.latents))
        return Batch(audio, latents, prompts)


class Objective(nn.Module):
    """One stage's loss, with its critics. Saved with the run, so that fine-tuning finds them."""

    weights: dict[str, float]  # by loss name; read after each yield, so they may follow the training

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameter groups that take turns: {"generator": …, "critic": …}."""
        raise NotImplementedError

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Yields (parameter group, {name: unweighted loss}); the loop steps that group's optimiser before it asks for
        the next. Once for diffusion, critic then generator for a GAN."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """With which options its generator is best sampled, where these aren't the generator's own defaults."""
        return {}

    def reconstruct(self, audio: Tensor) -> Tensor | None:
        """For demos: audio `[b c t]` through what is trained of a codec, where its whole can't be heard; or None."""

    def health(self) -> str | None:
        """A sentence when this stage sickens (critic winning outright, dead latents), else None."""
        return None


# Metrics


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str
    better: str  # "lower", "higher" or "nearer" (to the real clips' own figure)


class Metric:
    """Real clips and made clips -> figures."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        """real, made: clips `[c t]`."""
        raise NotImplementedError


# Configs by role


class CodecConfig(Config):
    def build(self) -> Codec:
        raise NotImplementedError


class ConditionerConfig(Config):
    def build(self) -> Conditioner:
        raise NotImplementedError


class GeneratorConfig(Config):
    def build(self, space: Space, conditioner: Conditioner | None) -> Generator:
        raise NotImplementedError


class Parts(Protocol):
    """What an objective may ask of the system that it trains (`systems.system.System` is one)."""

    codec: Codec
    conditioner: Conditioner | None
    generator: Generator | None


class ObjectiveConfig(Config):
    def build(self, parts: Parts) -> Objective:
        """Only the parameters that this stage trains have `requires_grad`. The parts must stay out of the
        objective's own modules (they are saved elsewhere): keep them in a list or a tuple."""
        raise NotImplementedError
