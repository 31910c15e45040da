"""A short-time Fourier transform with exactly one frame per hop, and its inverse.

Frame n is centred on the middle of hop n, so that t samples give t / hop frames and a decoder's frames
line up with its latents. Phases refer to one clock (`exp(-2πi k m / size)` with m the sample's place in the
signal), not to each frame's start: a steady tone at a bin's centre has a constant phase in it.
"""

import torch
from torch import Tensor, nn


class AlignedSTFT(nn.Module):
    """size: window in samples; hop must divide it, and 2·hop too, so that the clock repeats every size/hop frames."""

    window: Tensor
    clock: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        if size % (2 * hop):
            raise ValueError(f"a window of {size} samples is no even multiple of the hop of {hop}")
        self.size, self.hop = size, hop
        self.ratio = size // hop
        self.margin = (size - hop) // 2
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        frames, bins = torch.arange(self.ratio), torch.arange(size // 2 + 1)
        turns = (frames[:, None] * bins / self.ratio) % 1.0
        shift = bins * (self.margin / size)  # the first frame starts `margin` samples before the signal
        phase = 2 * torch.pi * (turns - shift)
        self.register_buffer("clock", torch.polar(torch.ones_like(phase), phase), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """audio `[b t]`, t a multiple of hop -> complex `[b n f]` with n = t / hop, f = size / 2 + 1."""
        padded = nn.functional.pad(audio.float(), (self.margin, self.margin))
        frames = padded.unfold(-1, self.size, self.hop) * self.window
        return torch.fft.rfft(frames) * self._clock(frames.shape[1]).conj()

    def inverse(self, spectrum: Tensor) -> Tensor:
        """complex `[b n f]` -> audio `[b n·hop]`, the least-squares inverse of `forward`."""
        count = spectrum.shape[1]
        frames = torch.fft.irfft(spectrum * self._clock(count), n=self.size) * self.window
        return self._overlap(frames) / self._overlap(self.window.square().expand(1, count, -1))

    def _clock(self, count: int) -> Tensor:
        return self.clock.repeat(-(-count // self.ratio), 1)[:count]

    def _overlap(self, frames: Tensor) -> Tensor:
        """Overlap-add `[b n size]` -> `[b n·hop]`: one shifted sum for each of the size/hop parts of a frame."""
        b, n, _ = frames.shape
        parts = frames.view(b, n, self.ratio, self.hop)
        out = frames.new_zeros(b, n + self.ratio - 1, self.hop)
        for i in range(self.ratio):
            out[:, i : i + n] += parts[:, :, i]
        return out.flatten(1)[:, self.margin : self.margin + n * self.hop]
