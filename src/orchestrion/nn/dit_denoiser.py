"""A transformer over time as a diffusion model's network, over latents or the bands of a waveform."""

import torch
from torch import Tensor

from orchestrion.contracts import Conditioner, Conditioning, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.denoiser import Denoiser, DenoiserConfig
from orchestrion.nn.dit import DiT

SLOTS = frozenset({"sequence", "vector", "frames"})


class DiTDenoiserConfig(DenoiserConfig):
    width: int = 512
    depth: int = 8
    heads: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (2 * self.heads):
            raise UserError("a transformer's width must be a multiple of twice its heads (places turn numbers in "
                            f"pairs), got {self.width} for {self.heads}")

    def build(self, space: Continuous, conditioner: Conditioner | None) -> "DiTDenoiser":
        if space.bands is not None:
            raise UserError(f"this transformer models latents [b d n]; this codec makes {space}")
        return DiTDenoiser(self, space.channels, conditioner)


class DiTDenoiser(Denoiser):
    """x `[b d n]`, time `[b]` in 0 to 1, and whatever of conditioning's sequence, vector and frames its conditioner
    fills -> `[b d n]`."""

    def __init__(self, config: DiTDenoiserConfig, channels: int, conditioner: Conditioner | None) -> None:
        super().__init__()
        self.accepts = conditioner.fills & SLOTS if conditioner is not None else frozenset()
        vector, words, paced = (conditioner.width_of(slot) if conditioner and slot in self.accepts else 0
                                for slot in ("vector", "sequence", "frames"))
        self.net = DiT(channels, channels, config.width, config.depth, config.heads, vector, words, paced)

    def forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        said = conditioning.at(torch.arange(x.shape[-1]))
        paced = None if said.frames is None else said.frames.mT
        return self.net(x.mT, time, said.vector, said.sequence, said.mask, paced).mT
