"""The error of a diffused codec's v, over all noise levels alike (audio-diffusion-pytorch's VDiffusion).

It trains encoder and decoder at once: the encoder learns to tell what the decoder can't guess from noisy audio.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from orchestrion.contracts import Batch, Codec, Objective, ObjectiveConfig, Parts
from orchestrion.errors import UserError
from orchestrion.sampling.parameterisations import Parameterisation
from orchestrion.sampling.paths import Path, spread
from orchestrion.sampling.weighting import Times


@runtime_checkable
class DecodesByDiffusion(Protocol):
    """A codec that tells v for noisy audio `[b c t]` at times `[b]`, given raw latents `[b d n]`."""

    path: Path
    parameterisation: Parameterisation
    level: float

    def output(self, x: Tensor, time: Tensor, latents: Tensor) -> Tensor: ...


class DiffusedCodecObjectiveConfig(ObjectiveConfig):
    times: Times = Times()

    def build(self, parts: Parts) -> "DiffusedCodecObjective":
        if not isinstance(parts.codec, DecodesByDiffusion):
            raise UserError(f"this objective trains a codec that decodes by diffusion, not a "
                            f"{type(parts.codec).__name__}")
        return DiffusedCodecObjective(self, parts.codec)


class DiffusedCodecObjective(Objective):
    def __init__(self, config: DiffusedCodecObjectiveConfig, codec: Codec) -> None:
        super().__init__()
        self.config, self.codec = config, (codec,)  # in a tuple: it is saved elsewhere
        self.weights = {"denoise": 1.0}

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"codec": [p for p in self.codec[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        codec, audio = self.codec[0], batch.audio
        assert isinstance(codec, DecodesByDiffusion) and audio is not None
        audio = codec.pad(audio)
        data, noise = audio / codec.level, torch.randn_like(audio)
        time = self.config.times.draw(len(audio), codec.path, audio.device)
        alpha, sigma = (spread(scale, audio) for scale in codec.path.scales(time))
        output = codec.output(alpha * data + sigma * noise, time, codec.analyse(audio))
        target = codec.parameterisation.target(data, noise, alpha, sigma)
        yield "codec", {"denoise": (output.float() - target).square().mean()}
