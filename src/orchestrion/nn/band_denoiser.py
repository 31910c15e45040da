"""A transformer that denoises the bands of a waveform, by masks above all.

What is left of sparse bands under noise is those that are loud for a while: the best estimate of each is a share of
what is there (Wiener). A network of plain layers can't multiply its input, and learns to with great pains; so this one
gives for every band a share, and what is to be added. It is shown how loud each band is, too, whatever its phase: by
the pseudo-spectrum of the MDCT, x_k² + (x_{k+1} - x_{k-1})² (Daudet & Sandler 2004).
"""

import torch
from torch import Tensor

from orchestrion.contracts import Conditioner, Conditioning, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.denoiser import Denoiser, DenoiserConfig
from orchestrion.nn.dit import DiT

SLOTS = frozenset({"sequence", "vector", "frames"})
SILENT = 0.1  # power, beside the noisy bands' own of 1


class BandDenoiserConfig(DenoiserConfig):
    width: int = 512
    depth: int = 6
    heads: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (2 * self.heads):
            raise UserError("a transformer's width must be a multiple of twice its heads (places turn numbers in "
                            f"pairs), got {self.width} for {self.heads}")

    def build(self, space: Continuous, conditioner: Conditioner | None) -> "BandDenoiser":
        if space.bands is not None:
            raise UserError(f"this transformer models the bands of a waveform [b d n]; this codec makes {space}")
        return BandDenoiser(self, space.channels, conditioner)


class BandDenoiser(Denoiser):
    """x `[b d n]`, time `[b]` in 0 to 1, and whatever of conditioning's sequence, vector and frames its conditioner
    fills -> `[b d n]`."""

    def __init__(self, config: BandDenoiserConfig, channels: int, conditioner: Conditioner | None) -> None:
        super().__init__()
        self.accepts = conditioner.fills & SLOTS if conditioner is not None else frozenset()
        vector, words, paced = (conditioner.width_of(slot) if conditioner and slot in self.accepts else 0
                                for slot in ("vector", "sequence", "frames"))
        self.net = DiT(2 * channels, 2 * channels, config.width, config.depth, config.heads, vector, words, paced)

    def forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        said = conditioning.at(torch.arange(x.shape[-1]))
        paced = None if said.frames is None else said.frames.mT
        bands = x.mT
        shown = torch.cat([bands, loudness(bands)], -1)
        share, added = self.net(shown, time, said.vector, said.sequence, said.mask, paced).chunk(2, -1)
        return torch.addcmul(added, share, bands).mT


def loudness(bands: Tensor) -> Tensor:
    """`[… d]` -> logarithms of the pseudo-spectrum's powers `[… d]`."""
    sides = torch.nn.functional.pad(bands, (1, 1))
    return (bands.square() + (sides[..., 2:] - sides[..., :-2]).square() + SILENT).log()
