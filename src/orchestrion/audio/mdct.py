"""The modified discrete cosine transform: samples as bands by frames, as many numbers as before, and back exactly.

Princen & Bradley 1987, by the folding of Malvar's lapped transform (1990): samples on the two sides of each border
between frames are turned into each other by the sine window, then each frame goes through a cosine transform of type
IV. Both are orthonormal, so the whole is: white noise stays white noise, and an error weighs as much before as behind.
"""

import math

import torch
from torch import Tensor, nn


class MDCT(nn.Module):
    """bands: of a frame, as many as its samples; even. At a signal's ends nothing is folded, so n frames need no sample
    beyond theirs."""

    cosines: Tensor
    window: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        if bands < 2 or bands % 2:
            raise ValueError(f"an MDCT has an even number of bands, not {bands}")
        self.bands = bands
        middles = torch.arange(bands, dtype=torch.float64) + 0.5
        cosines = math.sqrt(2 / bands) * torch.cos(math.pi / bands * middles[:, None] * middles)
        angles = math.pi / 4 * (1 + 2 * middles[: bands // 2] / bands)  # of the window's outer half, from the border on
        self.register_buffer("cosines", cosines.float(), persistent=False)
        self.register_buffer("window", torch.stack([angles.sin(), angles.cos()]).float(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """audio `[… t]`, t a multiple of `bands` -> `[… bands t/bands]`."""
        with torch.autocast(audio.device.type, enabled=False):  # bfloat16 would put noise into the quiet bands
            return (self._turned(audio.float().unflatten(-1, (-1, self.bands)), 1.0) @ self.cosines).mT

    def inverse(self, coefficients: Tensor) -> Tensor:
        """`[… bands n]` -> audio `[… bands·n]`."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return self._turned(coefficients.float().mT @ self.cosines, -1.0).flatten(-2)

    def _turned(self, frames: Tensor, way: float) -> Tensor:
        """frames `[… n bands]`: the halves on the two sides of each border, turned by the window, or (-1) back."""
        half = self.bands // 2
        near, far = self.window
        before, behind = frames[..., :-1, half:].flip(-1), frames[..., 1:, :half]  # from the border outwards
        turned = frames.clone()
        turned[..., :-1, half:] = (near * before - way * far * behind).flip(-1)
        turned[..., 1:, :half] = near * behind + way * far * before
        return turned
