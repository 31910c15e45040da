"""Denoising: the squared error of what a diffusion model's network tells, over the noise levels of its path."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from orchestrion.contracts import (
    Batch,
    Codec,
    Conditioner,
    Conditioning,
    Generator,
    Objective,
    ObjectiveConfig,
    Parts,
    Prompt,
)
from orchestrion.errors import UserError
from orchestrion.objectives.guides import learners
from orchestrion.sampling.parameterisations import Parameterisation
from orchestrion.sampling.paths import Path, spread
from orchestrion.sampling.weighting import Times, Weighting


class Diffuses(Protocol):
    """What a diffusion model's config must say."""

    path: Path
    parameterisation: Parameterisation


@runtime_checkable
class DiffusionModel(Protocol):
    """A generator that tells its network's raw output for x `[b …]` at time, α, σ `[b]`."""

    config: Diffuses
    net: nn.Module
    guide: nn.Module | None

    def output(self, x: Tensor, time: Tensor, alpha: Tensor, sigma: Tensor, conditioning: Conditioning,
               net: Any = None) -> Tensor: ...


class DenoiseConfig(ObjectiveConfig):
    times: Times = Times()
    weighting: Weighting = Weighting()
    drop: float = 0.1  # share of prompts left out, for classifier-free guidance

    def build(self, parts: Parts) -> "Denoise":
        if not isinstance(parts.generator, DiffusionModel):
            raise UserError(f"denoising trains a diffusion model, not a {type(parts.generator).__name__}")
        return Denoise(self, parts.generator, parts.conditioner, parts.codec)


class Denoise(Objective):
    def __init__(self, config: DenoiseConfig, generator: Generator, conditioner: Conditioner | None,
                 codec: Codec) -> None:
        super().__init__()
        self.config, self.parts = config, (generator, conditioner)  # in a tuple: they are saved elsewhere
        self.codec = (codec,)
        self.weights = {"denoise": 1.0, "guide": 1.0}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        modules = [part for part in self.parts if part is not None]
        return {"generator": [p for module in modules for p in module.parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        model = self.parts[0]
        assert isinstance(model, DiffusionModel)
        data = self._data(batch)
        path, parameterisation = model.config.path, model.config.parameterisation
        time = self.config.times.draw(len(data), path, data.device)
        alpha, sigma = path.scales(time)
        a, s = spread(alpha, data), spread(sigma, data)
        noise = torch.randn_like(data)
        x, target = a * data + s * noise, parameterisation.target(data, noise, a, s)
        weights = self.config.weighting.weigh(parameterisation, alpha, sigma)
        said, terms = self._conditioning(batch, len(data)), {}
        for name, net in learners(*self.parts, "denoise").items():
            heard = said.map(Tensor.detach) if name == "guide" else said  # the words are not read for it
            error = (model.output(x, time, alpha, sigma, heard, net) - target).square().flatten(1).mean(1)
            terms[name] = (weights * error).mean()
        yield "generator", terms

    def _data(self, batch: Batch) -> Tensor:
        """The batch's latents, or its audio's."""
        if batch.latents is not None:
            return batch.latents
        assert batch.audio is not None
        with torch.no_grad():
            return self.codec[0].encode(batch.audio)

    def _conditioning(self, batch: Batch, count: int) -> Conditioning:
        """Of the batch's prompts, some of them dropped."""
        generator, conditioner = self.parts
        if conditioner is None:
            return Conditioning()
        dropped = torch.rand(count) < self.config.drop
        prompts = batch.prompts or [Prompt()] * count
        conditioning = conditioner([Prompt() if gone else prompt for prompt, gone in zip(prompts, dropped)])
        place = next(iter(conditioning.slots().values())).device
        return generator.net.drop(conditioning, dropped.to(place))  # type: ignore[union-attr, operator]
