"""`--from`: beginning a run with parts that are already trained, in another run or a model folder."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from orchestrion.config import Config
from orchestrion.contracts import Codec, Objective, ObjectiveConfig
from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.generators.flow import FlowConfig, FlowOptions
from orchestrion.objectives.distillation import DistilConfig
from orchestrion.objectives.flow_distillation import FlowDistilConfig
from orchestrion.systems.folder import SharedCodec, found_anywhere, load_codec, load_model
from orchestrion.systems.shelf import HUB, bundled_models, find_model
from orchestrion.systems.system import Recipe, Stage, System
from orchestrion.training.checkpoint import load_checkpoint

SIDE = "codec.decoder.side"


@dataclass(frozen=True)
class Start:
    """Parts to begin with: always a codec, and a generator where the source has one of the same make."""

    source: System
    codec: SharedCodec | None  # by which the new model names it, where it is a bundled one
    folder: Path  # the model folder
    run: Path | None  # the run folder that it lies in, for the critics
    defaults: Mapping[str, Any]  # options that its generator is sampled with

    @classmethod
    def open(cls, name: str) -> "Start":
        """name: a run folder, a model folder, a bundled model, or hf:owner/name."""
        folder = Path(name)
        run = folder if (folder / "recipe.json").is_file() else None
        if run and not (run / "model" / "config.json").is_file():
            raise UserError(f"the run at {run} has no model yet: train it first")
        place = run / "model" if run else find_model(name)
        loaded = load_model(place)
        shared = loaded.shared_codec
        if shared is None and loaded.system.generator is None and (
                name.startswith(HUB) or place in bundled_models().values()):
            shared = load_codec(place)[1]
        elif shared is not None and not found_anywhere(shared):
            shared = None  # a codec that lies beside its model alone goes into the new one whole, as one's own does
        return cls(loaded.system, shared, place, run, loaded.about.defaults)

    def adopt(self, recipe: Recipe) -> Recipe:
        """The recipe with the source's codec in it, and without the stages that would train a codec.

        What a generator sees at once is a number of latent frames, so its crops last as long as these do here.
        """
        self._check_of_use(recipe)
        longer = self._rate(recipe.system.codec.build()) / self._rate(self.source.codec)
        system = dataclasses.replace(recipe.system, codec=self.source.codec.settle(self.source.config.codec))
        stages = tuple(dataclasses.replace(stage, crop=stage.crop * longer) if stage.on == "latents" else stage
                       for stage in recipe.stages if stage.trains.partition(".")[0] != "codec")
        if not stages:  # fine-tuning a codec
            stages = recipe.stages
        return dataclasses.replace(recipe, system=system, stages=stages)

    def _check_of_use(self, recipe: Recipe) -> None:
        """Refuses a source that has nothing that the recipe could begin with."""
        have, want = self.source.config, recipe.system
        trained = {stage.trains.partition(".")[0] for stage in recipe.stages}
        for part in ("codec", "conditioner"):
            if trained == {part} and type(getattr(have, part)) is not type(getattr(want, part)):
                raise UserError(f"{self.folder} has no {_kind(getattr(want, part))}, which is all that this system "
                                "trains, so there is nothing to begin with: name another --from, or leave it out")
        if have.generator is None and have.conditioner is not None and type(have.codec) is not type(want.codec):
            raise UserError(f"{self.folder} hears and makes no sound, so it has no codec for a "
                            f"{_kind(want.generator or want.codec)} to stand on: name another --from, or leave it out")

    def distil(self, recipe: Recipe, steps: int) -> Recipe:
        """The recipe of a student that samples in `steps` what the source's generator, its teacher, needs many for."""
        generator = self.source.config.generator
        if not isinstance(generator, DiffusionConfig | FlowConfig):
            raise UserError(f"--distil teaches a diffusion model or a flow to take fewer steps, and {self.folder} has "
                            f"{'none' if generator is None else type(generator).__name__}: give one by --from")
        last = next((stage for stage in reversed(recipe.stages) if stage.trains == "generator"), None)
        if last is None:
            raise UserError("--distil: this system trains no generator; name the teacher's own system")
        crop = generator.context / self._rate(self.source.codec)
        objective: ObjectiveConfig
        if isinstance(generator, FlowConfig):
            objective = self._shortened(generator, steps)
            generator = dataclasses.replace(generator, guidance=1.0)
        else:
            objective = DistilConfig(steps=steps)
        generator = dataclasses.replace(generator, guide=None)
        stage = dataclasses.replace(last, name="distil", along=(), objective=objective, crop=crop,
                                    steps=max(1, last.steps // 4), learning_rate=last.learning_rate / 4,
                                    warmup=min(last.warmup, 50))
        system = dataclasses.replace(recipe.system, conditioner=self.source.config.conditioner, generator=generator)
        return dataclasses.replace(recipe, system=system, stages=(stage,))

    def _shortened(self, generator: FlowConfig, steps: int) -> FlowDistilConfig:
        """A flow's lesson: as it is sampled by itself, so is it as a teacher."""
        usual = FlowOptions(**self.defaults)
        scale = generator.guidance if usual.cfg_scale is None else usual.cfg_scale
        scale = scale if self.source.conditioner else 1.0
        return FlowDistilConfig(steps=steps, shift=usual.shift, cfg_scale=scale, cfg_until=usual.cfg_until)

    @staticmethod
    def _rate(codec: Codec) -> float:
        """Latent frames a second."""
        return codec.sample_rate / codec.frame

    def give(self, system: System) -> frozenset[str]:
        """Copies the weights of the codec, and of the other parts that are of the same make; -> their names. Where
        the codec's decoder alone is of another make, all that has its place in it, and the name is "codec.encoder";
        "codec.decoder" too, where but its part that makes a second channel (`SIDE`) is new or of another make."""
        given = self._give_codec(system.codec)
        for name in ("conditioner", "generator"):
            have, want = getattr(self.source, name), getattr(system, name)
            if have is not None and want is not None and getattr(self.source.config, name).same_make(
                    getattr(system.config, name)) and _fits(have, want):
                want.load_state_dict(have.state_dict(), strict=False)
                given.add(name)
        return frozenset(given)

    def _give_codec(self, codec: Codec) -> set[str]:
        state, room = self.source.codec.state_dict(), codec.state_dict()
        other = sorted(name for name in state | room if name not in state or name not in room
                       or state[name].shape != room[name].shape)
        aside = [name for name in other if f"codec.{name}".startswith(f"{SIDE}.")]
        if other == aside and not set(aside) & set(room):  # a side that is wanted no more, if any
            codec.load_state_dict({name: state[name] for name in room})
            return {"codec"}
        if strange := [name for name in other if not name.startswith("decoder.")]:
            raise UserError(f"the codec of {self.folder} isn't of the make that system.codec is set to ({strange[0]} "
                            "has another shape): leave its settings as they are, or train one without --from")
        codec.load_state_dict({name: value for name, value in state.items() if name not in other}, strict=False)
        return {"codec.encoder", "codec.decoder"} if other == aside else {"codec.encoder"}

    def give_objective(self, stage: Stage, objective: Objective) -> None:
        """Goes on with the critics of the source, where it kept them: a run in its stage of the same name, an
        imported model in `objective.safetensors`."""
        state = {}
        if self.run and (path := self.run / "stages" / stage.name / "checkpoint.pt").is_file():
            state = load_checkpoint(path)["objective"]
        elif (path := self.folder / "objective.safetensors").is_file():
            try:
                state = load_file(path)
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} is damaged ({error}); take the model from its source again") from error
        if {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in objective.state_dict().items()}:
            objective.load_state_dict(state)


def _kind(config: Config | None) -> str:
    return type(config).__name__.removesuffix("Config")


def _fits(have: nn.Module, want: nn.Module) -> bool:
    """Whether all weights have their place, but for those of a part that is wanted no more: a generator without prompts
    begins one that learns to take them, and one with a guide begins a student that needs none."""
    room = {name: weight.shape for name, weight in want.named_parameters()}
    return all(room.get(name) == weight.shape for name, weight in have.named_parameters()
               if getattr(want, name.partition(".")[0], have) is not None)
