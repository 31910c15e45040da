"""What a system is: a codec, a conditioner and a generator, and the recipe that trains them in order."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from orchestrion.config import Config
from orchestrion.contracts import (
    Codec,
    CodecConfig,
    Conditioner,
    ConditionerConfig,
    Generator,
    GeneratorConfig,
    ObjectiveConfig,
)
from orchestrion.errors import UserError, did_you_mean

Size = Literal["nano", "tiny", "small", "paper"]


class SystemConfig(Config):
    """The parts of a system. `generator` is None while only a codec is wanted (RAVE, a shared codec)."""

    codec: CodecConfig
    conditioner: ConditionerConfig | None = None
    generator: GeneratorConfig | None = None

    def build(self) -> "System":
        """Raises UserError where its figures are such that nothing can be built."""
        with _figures_of(self):
            return System(self)

    def build_codec(self) -> Codec:
        """Its codec alone. Raises as `build` does."""
        with _figures_of(self.codec):
            return self.codec.build()


@contextmanager
def _figures_of(config: Config) -> Iterator[None]:
    """What torch says of a width of -1 or of three heads in a width of 64, as a sentence for who set it."""
    try:
        yield
    except (ArithmeticError, AssertionError, RuntimeError, ValueError) as error:
        raise UserError(f"no {type(config).__name__.removesuffix('Config')} can be built with such figures "
                        f"({type(error).__name__}: {error}): see what --set, or the model's config.json, changed"
                        ) from error


class System(nn.Module):
    """A codec, perhaps a conditioner, perhaps a generator, built from one config."""

    codec: Codec
    conditioner: Conditioner | None
    generator: Generator | None

    def __init__(self, config: SystemConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = config.codec.build()
        self.conditioner = config.conditioner.build() if config.conditioner else None
        self.generator = (
            config.generator.build(self.codec.space, self.conditioner) if config.generator else None
        )

    def codec_alone(self) -> "System":
        """The same codec, without what stands on it."""
        alone = System(replace(self.config, conditioner=None, generator=None))
        alone.codec = self.codec
        return alone

    def part(self, name: str) -> nn.Module:
        """The sub-module that a stage trains: `codec`, `codec.decoder`, `generator` …"""
        try:
            part = self.get_submodule(name)
        except AttributeError:
            part = None
        if part is None:
            raise UserError(f"this system has no part {name!r}; "
                            f"{did_you_mean(name, [n for n, _ in self.named_children()])}")
        return part

    def trained(self, stage: "Stage") -> nn.Module:
        """What a stage trains: its part, or that and those along with it, by their names."""
        if not stage.along:
            return self.part(stage.trains)
        return nn.ModuleDict({name.replace(".", "_"): self.part(name) for name in (stage.trains, *stage.along)})


class Stage(Config):
    """One training stage: which part, by which objective, on what crops, for how long."""

    from_zero = frozenset({"warmup"})
    signed = frozenset({"gain"})

    name: str
    trains: str  # a part of the system: "codec", "codec.decoder", "generator"
    objective: ObjectiveConfig
    along: tuple[str, ...] = ()  # further parts that learn with it: ("conditioner",)
    on: Literal["audio", "latents"] = "audio"  # crops of audio, or of the frozen codec's cached latents
    crop: float = 1.5  # seconds
    gain: tuple[float, float] = (0.0, 0.0)  # dB: the level of each crop of audio is changed by as much
    batch: int = 16
    steps: int = 10_000
    learning_rate: float = 1e-3
    critic_rate: float | None = None  # learning rate of the other parameter groups; None: the same
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup: int = 100  # steps
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: float | None = 1.0  # gradient norm
    ema: float = 0.999
    fit: bool = False  # measure the codec (latent statistics, PCA) when the stage ends

    def __post_init__(self) -> None:
        """Raises UserError where a figure can't be meant."""
        for name in ("crop", "batch", "steps", "learning_rate", "critic_rate", "clip"):
            if (figure := getattr(self, name)) is not None and not 0 < figure < math.inf:
                self._refuse(name, "above zero", figure)
        for name in ("weight_decay", "warmup"):
            if not 0 <= (figure := getattr(self, name)) < math.inf:
                self._refuse(name, "zero or more", figure)
        for name, share in (("ema", self.ema), *(("betas", beta) for beta in self.betas)):
            if not 0 <= share < 1:
                self._refuse(name, "from 0 to below 1", share)
        low, high = self.gain
        if not -math.inf < low <= high < math.inf:
            self._refuse("gain", "two levels in dB, the lower one first", self.gain)
        super().__post_init__()

    def _refuse(self, field: str, wanted: str, got: object) -> None:
        raise UserError(f"stage {self.name!r}: {field} must be {wanted}, got {got}")


class Recipe(Config):
    """A system and the stages that train it, in order."""

    system: SystemConfig
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise UserError(f"there is no stage {name!r}; {did_you_mean(name, [s.name for s in self.stages])}")


# The table of systems


@dataclass(frozen=True)
class NamedSystem:
    name: str
    sizes: tuple[str, ...]
    build: Callable[[str], Recipe]
    summary: str  # first line of the page's docstring

    def recipe(self, size: str) -> Recipe:
        if size not in self.sizes:
            raise UserError(f"{self.name} has no size {size!r}; {did_you_mean(size, self.sizes)}")
        return self.build(size)


SYSTEMS: dict[str, NamedSystem] = {}


def system(name: str, sizes: Iterable[str]) -> Callable[[Callable[[str], Recipe]], Callable[[str], Recipe]]:
    """Enters a system's page into the table: `@system("musika", sizes=("nano", "tiny"))`."""

    def enter(build: Callable[[str], Recipe]) -> Callable[[str], Recipe]:
        import sys

        summary = (sys.modules[build.__module__].__doc__ or "").strip().partition("\n")[0]
        SYSTEMS[name] = NamedSystem(name, tuple(sizes), build, summary)
        return build

    return enter


def find_system(name: str) -> NamedSystem:
    if name not in SYSTEMS:
        raise UserError(f"there is no system {name!r}; {did_you_mean(name, SYSTEMS)}")
    return SYSTEMS[name]
