"""What the scoreboard asks of a model: `playing.Model` is one, and a test's toy may be another."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.contracts import Prompt
from orchestrion.systems.folder import About
from orchestrion.systems.system import System


class Player(Protocol):
    name: str
    source: str  # what `Load` takes to find it again
    sha256: str
    system: System
    about: About

    @property
    def sample_rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def codec_sha256(self) -> str: ...

    def options(self, given: Mapping[str, Any] | None = None) -> Any: ...

    def generate_batch(self, prompts: Sequence[str | Prompt | None], duration: float, seeds: Sequence[int],
                       options: Mapping[str, Any] | None = None) -> list[Audio]: ...

    def sample(self, prompts: Sequence[str | Prompt | None], duration: float, seeds: Sequence[int],
               options: Any = None) -> Tensor: ...

    def stream(self, latents: Tensor, length: int | None = None, seed: int = 0) -> Iterator[Tensor]: ...

    def encode(self, audio: Audio) -> Tensor: ...

    def reconstruct(self, audio: Audio) -> Audio: ...


Load = Callable[[str], Player]
"""A model's name or folder -> the model. Must be picklable where cost is measured, in processes of their own."""


def untrained(player: Player, seed: int = 0) -> Player:
    """The same model with its generator as it was before training, over the trained codec and conditioner; a
    codec alone as it was before training."""
    trained = player.system
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        system = trained.config.build()
    if system.generator is not None:
        system.codec.load_state_dict(trained.codec.state_dict())
        if system.conditioner is not None and trained.conditioner is not None:
            system.conditioner.load_state_dict(trained.conditioner.state_dict())
    twin = copy.copy(player)
    twin.system = system.to(trained.codec.mean.device).eval().requires_grad_(False)
    return twin


def prompt_for(player: Player, prompt: Prompt) -> Prompt | None:
    """None for a model that takes no prompt."""
    return prompt if player.system.conditioner is not None else None
