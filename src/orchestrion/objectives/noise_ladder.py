"""The error of a noise ladder's v, every split of the window at a noise level of its own
(audio-diffusion-pytorch's ARVDiffusion)."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from orchestrion.contracts import Batch, Codec, Generator, Objective, ObjectiveConfig, Parts
from orchestrion.errors import UserError
from orchestrion.sampling.parameterisations import Parameterisation
from orchestrion.sampling.paths import Path


@runtime_checkable
class Ladder(Protocol):
    """A generator that tells v for x `[b d n]` at times `[b 1 n]`; a split is as many frames."""

    path: Path
    parameterisation: Parameterisation
    split: int

    def output(self, x: Tensor, times: Tensor) -> Tensor: ...


class LadderDenoiseConfig(ObjectiveConfig):
    def build(self, parts: Parts) -> "LadderDenoise":
        if not isinstance(parts.generator, Ladder):
            raise UserError(f"this objective trains a noise ladder, not a {type(parts.generator).__name__}")
        return LadderDenoise(parts.generator, parts.codec)


class LadderDenoise(Objective):
    def __init__(self, generator: Generator, codec: Codec) -> None:
        super().__init__()
        self.parts = (generator, codec)  # in a tuple: they are saved elsewhere
        self.weights = {"denoise": 1.0}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"generator": [p for p in self.parts[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        model, codec = self.parts
        assert isinstance(model, Ladder)
        data = batch.latents
        if data is None:
            assert batch.audio is not None
            with torch.no_grad():
                data = codec.encode(batch.audio)
        b, _, n = data.shape
        times = torch.rand(b, 1, -(-n // model.split), device=data.device).repeat_interleave(model.split, -1)[..., :n]
        alpha, sigma = model.path.scales(times)
        noise = torch.randn_like(data)
        output = model.output(alpha * data + sigma * noise, times)
        target = model.parameterisation.target(data, noise, alpha, sigma)
        yield "generator", {"denoise": (output - target).square().mean()}
