"""A codec and a generator as small as can be, that keep every contract."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orchestrion.contracts import (
    Codec,
    CodecConfig,
    Conditioning,
    Continuous,
    Edit,
    Exact,
    Generator,
    GeneratorConfig,
    Progress,
    Space,
    Windowed,
)
from orchestrion.sampling.clips import clip_generators, clip_noise
from orchestrion.systems.folder import About, SharedCodec, load_codec, save_model
from orchestrion.systems.system import System, SystemConfig


class ToyCodecConfig(CodecConfig):
    sample_rate: int = 8000
    channels: int = 2
    frame: int = 100
    latents: int = 8
    windowed: bool = False

    def build(self) -> "ToyCodec":
        return ToyCodec(self)


class ToyCodec(Codec):
    """Frames projected on a few cosines; the decoder also hears the frames before and after."""

    def __init__(self, config: ToyCodecConfig) -> None:
        chunking = Windowed(4) if config.windowed else Exact(1)
        super().__init__(Continuous(config.latents, config.sample_rate / config.frame), config.sample_rate,
                         config.channels, multiple_of=config.frame, chunking=chunking)
        torch.manual_seed(0)
        width = config.channels * config.frame
        self.up = nn.Conv1d(config.latents, width, 3, padding=1)
        time = (torch.arange(config.frame) + 0.5) / config.frame
        basis = torch.cos(math.pi * torch.arange(config.latents)[:, None] * time) / config.frame**0.5
        self.register_buffer("basis", basis)
        with torch.no_grad():
            self.up.bias.zero_()
            self.up.weight.mul_(0.1)

    def analyse(self, audio: Tensor) -> Tensor:
        frames = audio.mean(1).unflatten(-1, (-1, self.multiple_of))
        return torch.einsum("bnt,dt->bdn", frames, self.basis)

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        frames = self.up(latents).unflatten(1, (self.channels, self.multiple_of))
        return frames.permute(0, 1, 3, 2).flatten(2)


@dataclass
class ToyOptions:
    steps: int = 4
    variety: float = 1.0


class ToyGeneratorConfig(GeneratorConfig):
    width: int = 16

    def build(self, space: Space, conditioner: nn.Module | None) -> "ToyGenerator":
        assert isinstance(space, Continuous)
        return ToyGenerator(self, space)


class ToyGenerator(Generator):
    options = ToyOptions
    multiple_of = 4

    def __init__(self, config: ToyGeneratorConfig, space: Space) -> None:
        super().__init__()
        assert isinstance(space, Continuous)
        self.channels = space.channels
        torch.manual_seed(1)
        self.net = nn.Conv1d(space.channels, space.channels, 5, padding=2)
        self.widen = nn.Linear(config.width, 1)

    def sample(self, frames: int, conditioning: Conditioning, seeds: list[int],
               options: ToyOptions | None = None, edit: Edit | None = None,
               progress: Progress | None = None) -> Tensor:
        options = options or ToyOptions()
        latents = options.variety * clip_noise(clip_generators(seeds), self.channels, frames)
        for step in range(options.steps):
            latents = latents + 0.3 * self.net(latents).tanh()
            if progress:
                progress((step + 1) / options.steps)
        return latents


def toy_system(windowed: bool = False) -> System:
    config = SystemConfig(codec=ToyCodecConfig(windowed=windowed), generator=ToyGeneratorConfig())
    return config.build().eval()


def toy_model_folder(folder) -> None:
    save_model(toy_system(), folder, About(name="toy", licence="MIT", data="noise", defaults={"steps": 3}))


def shared_pair(place) -> tuple[System, SharedCodec]:
    """In the folder `place`: a codec stored in half precision, "toy-codec", and a generator's folder that names it,
    "toy"."""
    codec_only = SystemConfig(codec=ToyCodecConfig()).build()
    save_model(codec_only, place / "toy-codec", About(name="toy-codec"), dtype=torch.float16)
    codec_system, reference = load_codec(place / "toy-codec")
    system = toy_system()
    system.codec.load_state_dict(codec_system.codec.state_dict())
    save_model(system, place / "toy", About(name="toy"), codec=reference)
    return system, reference
