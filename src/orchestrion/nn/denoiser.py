"""What a network must do to stand in a diffusion model: tell something of a noisy x, its time and the prompt."""

import torch
from torch import Tensor, nn

from orchestrion.config import Config
from orchestrion.contracts import Conditioner, Conditioning, Continuous


class Denoiser(nn.Module):
    """x `[b d n]` or `[b d f n]`, time `[b]` as the parameterisation tells it, conditioning -> as x."""

    multiple_of: int = 1  # frames
    accepts: frozenset[str] = frozenset()  # slots of Conditioning

    def forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        raise NotImplementedError

    def null(self, conditioning: Conditioning) -> Conditioning:
        """What guidance leads away from: the conditioner's own null or negative prompt, else zeros."""
        return conditioning.against or conditioning.map(torch.zeros_like)

    def drop(self, conditioning: Conditioning, dropped: Tensor) -> Conditioning:
        """Conditioning in training, where the prompts of the clips in `dropped` `[b]` are already the null prompt; a
        network that learns a null of its own puts it there."""
        return conditioning

    def prepared(self) -> "Denoiser":
        """What to sample with: itself, or a copy that is faster on this machine."""
        return self


class DenoiserConfig(Config):
    def build(self, space: Continuous, conditioner: Conditioner | None) -> Denoiser:
        """Raises UserError where the space has another shape than this network takes."""
        raise NotImplementedError
