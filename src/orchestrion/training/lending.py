"""`--from`, several times: sources that lend a system one part only, such as AudioLDM's CLAP and its vocoder."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrion.codecs.hifigan import HifiGanConfig
from orchestrion.codecs.mel_vae import MelVaeConfig
from orchestrion.codecs.waveform import WaveformConfig
from orchestrion.conditioners.clap import ClapConfig
from orchestrion.conditioners.text_clap import PretrainedClap, PretrainedClapConfig
from orchestrion.contracts import Objective
from orchestrion.errors import UserError
from orchestrion.systems.system import Recipe, Stage, System, SystemConfig
from orchestrion.training.start import Start

LAION = "laion:"


class Part(Protocol):
    def fits(self, source: SystemConfig, wanted: SystemConfig) -> bool:
        """Whether this is all that the source has for such a system."""
        ...

    def adopt(self, source: SystemConfig, recipe: Recipe) -> Recipe:
        """The recipe with the source's part in it, and without the stages that would train it."""
        ...

    def give(self, source: System, system: System) -> frozenset[str]: ...


class Ears:
    """A CLAP, for a system that is steered by one."""

    def fits(self, source: SystemConfig, wanted: SystemConfig) -> bool:
        clap = ClapConfig | PretrainedClapConfig
        return (source.generator is None and wanted.generator is not None and isinstance(source.conditioner, clap)
                and isinstance(wanted.conditioner, clap))

    def adopt(self, source: SystemConfig, recipe: Recipe) -> Recipe:
        system = dataclasses.replace(recipe.system, conditioner=source.conditioner)
        return _without(dataclasses.replace(recipe, system=system), "conditioner")

    def give(self, source: System, system: System) -> frozenset[str]:
        assert source.conditioner is not None and system.conditioner is not None
        system.conditioner.load_state_dict(source.conditioner.state_dict())
        return frozenset({"conditioner"})


class Voice:
    """A vocoder, for a system whose mel images go through an autoencoder."""

    def fits(self, source: SystemConfig, wanted: SystemConfig) -> bool:
        return (source.generator is None and isinstance(source.codec, HifiGanConfig)
                and isinstance(wanted.codec, MelVaeConfig))

    def adopt(self, source: SystemConfig, recipe: Recipe) -> Recipe:
        codec = dataclasses.replace(recipe.system.codec, image=source.codec)  # type: ignore[call-arg]
        system = dataclasses.replace(recipe.system, codec=codec)
        return _without(dataclasses.replace(recipe, system=system), "codec.image")

    def give(self, source: System, system: System) -> frozenset[str]:
        system.part("codec.image").load_state_dict(source.codec.state_dict())
        return frozenset()


PARTS: tuple[Part, ...] = (Ears(), Voice())


@dataclass(frozen=True)
class Lent(Start):
    """A source that lends one part."""

    part: Part

    def adopt(self, recipe: Recipe) -> Recipe:
        return self.part.adopt(self.source.config, recipe)

    def give(self, system: System) -> frozenset[str]:
        return self.part.give(self.source, system)


@dataclass(frozen=True)
class Several(Start):
    """A source, and others after it."""

    first: Start
    others: tuple[Start, ...]

    def adopt(self, recipe: Recipe) -> Recipe:
        for start in (self.first, *self.others):
            recipe = start.adopt(recipe)
        return recipe

    def give(self, system: System) -> frozenset[str]:
        return frozenset().union(*(start.give(system) for start in (self.first, *self.others)))

    def give_objective(self, stage: Stage, objective: Objective) -> None:
        for start in (self.first, *self.others):
            start.give_objective(stage, objective)


def begin_with(names: Sequence[str], recipe: Recipe) -> Start:
    """names: as `Start.open` takes them, or `laion:NAME`, a CLAP through transformers. At least one."""
    starts = [_opened(name, recipe.system) for name in names]
    if len(starts) == 1:
        return starts[0]
    kinds = [type(start.part) if isinstance(start, Lent) else None for start in starts]
    for number, kind in enumerate(kinds):
        if (before := kinds.index(kind)) < number:
            what = "a codec of their own" if kind is None else "the same part"
            raise UserError(f"--from: {starts[before].folder} and {starts[number].folder} both bring {what}, and a run "
                            "begins with one: leave one out")
    starts.sort(key=lambda start: isinstance(start, Lent))  # what lends a part changes what comes whole
    codec = next((start.codec for start in starts if start.codec is not None), None)
    first = starts[0]
    return Several(first.source, codec, first.folder, first.run, first.defaults, first, tuple(starts[1:]))


def _opened(name: str, wanted: SystemConfig) -> Start:
    start = _pretrained(name.removeprefix(LAION)) if name.startswith(LAION) else Start.open(name)
    for part in PARTS:
        if part.fits(start.source.config, wanted):
            return Lent(start.source, None, start.folder, start.run, start.defaults, part)
    return start


def _pretrained(weights: str) -> Start:
    """A CLAP as a system that makes no sound; its weights stay where transformers keeps them."""
    if not weights:
        raise UserError(f"{LAION} wants a name after it, such as {LAION}laion/clap-htsat-unfused")
    config = SystemConfig(codec=WaveformConfig(sample_rate=PretrainedClap.sample_rate),
                          conditioner=PretrainedClapConfig(weights=weights))
    return Start(config.build(), None, Path(weights), None, {})


def _without(recipe: Recipe, part: str) -> Recipe:
    """The recipe without the stages that train the part alone."""
    stages = tuple(stage for stage in recipe.stages if not f"{stage.trains}.".startswith(f"{part}."))
    return dataclasses.replace(recipe, stages=stages)
