"""A short-time Fourier transform with exactly one frame per hop, and its inverse.

Frame n is centred on the middle of hop n, so that t samples give t / hop frames and a decoder's frames
line up with its latents. Phases refer to one clock (`exp(-2πi k m / size)` with m the sample's place in the
signal), not to each frame's start: a steady tone at a bin's centre has a constant phase in it.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class AlignedSTFT(nn.Module):
    """size: window in samples; hop must divide it, and 2·hop too, so that the clock repeats every size/hop frames.

    period: frames after which the clock repeats, where that should be a part of size/hop: bins between those whose
    clock does are counted by the one below.
    """

    window: Tensor
    synthesis: Tensor
    squares: Tensor
    clock: Tensor

    def __init__(self, size: int, hop: int, period: int = 0) -> None:
        super().__init__()
        if size % (2 * hop):
            raise ValueError(f"a window of {size} samples is no even multiple of the hop of {hop}")
        if period and size // hop % period:
            raise ValueError(f"a clock of {size // hop} frames can't repeat every {period}")
        self.size, self.hop = size, hop
        self.ratio = size // hop
        self.margin = (size - hop) // 2
        window = torch.hann_window(size)
        squares = window.square().view(self.ratio, hop)
        steady = squares.sum(0)  # what the squares of overlapping windows add up to, away from the ends
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("synthesis", window.view(self.ratio, hop) / steady, persistent=False)
        self.register_buffer("squares", squares / steady, persistent=False)
        frames, bins = torch.arange(self.ratio), torch.arange(size // 2 + 1)
        counted = bins - bins % (self.ratio // period) if period else bins
        turns = (frames[:, None] * counted / self.ratio) % 1.0
        shift = bins * (self.margin / size)  # the first frame starts `margin` samples before the signal
        phase = 2 * torch.pi * (turns - shift)
        self.register_buffer("clock", torch.polar(torch.ones_like(phase), phase), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """audio `[b t]`, t a multiple of hop -> complex `[b n f]` with n = t / hop, f = size / 2 + 1."""
        spectrum = self._spectrum(audio)
        return spectrum * self._clock(spectrum.shape[1]).conj()

    def inverse(self, spectrum: Tensor) -> Tensor:
        """complex `[b n f]` -> audio `[b n·hop]`, the least-squares inverse of `forward`."""
        return self.join([spectrum * self._clock(spectrum.shape[1])])

    def angles(self, count: int) -> Tensor:
        """`[n f]`: what turns phases on the clock into those that `join` wants, of frames that begin at a multiple
        of size / hop."""
        return self.clock.angle().repeat(-(-count // self.ratio), 1)[:count]

    def join(self, spectra: Iterable[Tensor]) -> Tensor:
        """Consecutive frames, their phases referring to each frame's own start, complex `[b n f]`, in blocks that
        may be made as they are asked for -> audio `[b n·hop]`, n being the frames of all blocks together."""
        done: list[Tensor] = []
        tail, count = None, 0  # tail: hops that the frames of later blocks add to
        for spectrum in spectra:
            parts = torch.fft.irfft(spectrum, n=self.size).unflatten(-1, (self.ratio, self.hop)) * self.synthesis
            b, n = parts.shape[:2]
            hops = parts.new_zeros(b, n + self.ratio - 1, self.hop)
            for shift in range(self.ratio):
                hops[:, shift : shift + n] += parts[:, :, shift]
            if tail is not None:
                hops[:, : self.ratio - 1] += tail
            done.append(hops[:, :n])
            tail, count = hops[:, n:], count + n
        if tail is None:
            raise ValueError("there is no spectrum to make audio of")
        audio = self._full_ends(torch.cat([*done, tail], 1), count)
        return audio.flatten(1)[:, self.margin : self.margin + count * self.hop]

    def nearest(self, spectrum: Tensor) -> Tensor:
        """Frames as `join` wants them, complex `[b n f]`, which need not be the spectrum of any signal -> that of the
        audio that they make."""
        return self._spectrum(self.join([spectrum]))

    def _spectrum(self, audio: Tensor) -> Tensor:
        """`forward`, but phases refer to each frame's own start."""
        padded = nn.functional.pad(audio.float(), (self.margin, self.margin))
        return torch.fft.rfft(padded.unfold(-1, self.size, self.hop) * self.window)

    def _full_ends(self, hops: Tensor, count: int) -> Tensor:
        """Overlap-added hops `[b count+ratio-1 hop]`, divided where fewer than `ratio` frames reach."""
        short = min(count, self.ratio)
        envelope = hops.new_zeros(short + self.ratio - 1, self.hop)
        for start in range(short):
            envelope[start : start + self.ratio] += self.squares
        envelope = envelope.clamp_min(1e-8)  # nought only in the margin, which is cut off
        if count == short:
            return hops / envelope
        ends = self.ratio - 1
        hops[:, :ends] /= envelope[:ends]
        hops[:, -ends:] /= envelope[-ends:]
        return hops

    def _clock(self, count: int) -> Tensor:
        return self.clock.repeat(-(-count // self.ratio), 1)[:count]
