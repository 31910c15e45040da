"""Spectra: the short-time Fourier transform and its inverse, mel bands, and a constant-Q transform.

All are batched torch, differentiable and float32 (autocast does not touch them). Time is the last axis.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

LOG_FLOOR = 1e-5  # magnitudes below it are silence: -100 dB


@dataclass
class StreamState:
    """What `STFT.stream` carries from block to block: unfinished samples `[... (n_fft - hop)]` and the
    number of frames that it has seen."""

    tail: Tensor
    frames: int


class STFT(nn.Module):
    """Hann-windowed STFT, unscaled as in `torch.stft`, and its inverse.

    Shape: audio `[... t]` <-> complex `[... f n]`, f = n_fft/2 + 1. With padding "centre", frame i is
    centred on sample i·hop and n = t//hop + 1 (as in `torch.stft`); with "same", it is centred on the
    middle of the i-th hop and n = t/hop exactly, which suits codecs. Both reflect at the edges.
    `hop` must divide `n_fft`.
    """

    window: Tensor
    synthesis: Tensor
    edge: Tensor

    def __init__(self, n_fft: int, hop: int, padding: Literal["centre", "same"] = "centre") -> None:
        super().__init__()
        if n_fft % hop or n_fft < 2 * hop or (n_fft - hop) % 2:
            raise ValueError(f"hop must divide n_fft at least twice, evenly: got {n_fft} and {hop}")
        self.n_fft, self.hop, self.padding = n_fft, hop, padding
        self.trim = n_fft // 2 if padding == "centre" else (n_fft - hop) // 2
        window = torch.hann_window(n_fft, dtype=torch.float64)
        overlap = n_fft // hop
        squares = window.square().view(overlap, hop)
        steady = squares.sum(0)  # envelope of the overlapping squared windows, away from the edges
        # Share of that envelope which the first 1, 2, … frames reach: only the edges need dividing.
        edge = squares.cumsum(0)[:-1] / steady
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("synthesis", (window.view(overlap, hop) / steady).float(), persistent=False)
        self.register_buffer("edge", edge.clamp_min(1e-8).float(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """audio `[... t]` -> complex `[... f n]`."""
        lead = audio.shape[:-1]
        flat = audio.float().reshape(1, -1, audio.shape[-1])
        padded = nn.functional.pad(flat, (self.trim, self.trim),
                                   mode="reflect" if audio.shape[-1] > self.trim else "constant")
        spectrum = torch.stft(padded[0], self.n_fft, self.hop, window=self.window, center=False,
                              return_complex=True)
        return spectrum.unflatten(0, lead) if lead else spectrum[0]

    def inverse(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """complex `[... f n]` -> audio `[... t]`; by default t = n·hop ("same") or (n-1)·hop ("centre")."""
        blocks = self._overlap_add(spectrum)
        count, head = spectrum.shape[-1], self.edge.shape[0]
        if count > head:
            blocks[..., :head, :] /= self.edge[:head]
            blocks[..., -head:, :] /= self._falling(head)
        else:
            blocks = blocks / self._short_envelope(count)
        audio = blocks.flatten(-2)[..., self.trim : blocks.shape[-2] * self.hop - self.trim]
        return audio if length is None else audio[..., :length]

    def stream(self, spectrum: Tensor, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """The next frames `[... f n]` -> the samples that they finish, and the state for the next call.

        The blocks, followed by `flush(state)`, are what `inverse` gives for all frames at once
        (at least n_fft/hop of them).
        """
        blocks = self._overlap_add(spectrum)
        count, seen = spectrum.shape[-1], state.frames if state else 0
        if state is not None:
            kept = state.tail.unflatten(-1, (-1, self.hop))
            blocks[..., : kept.shape[-2], :] += kept
        done, tail = blocks[..., :count, :], blocks[..., count:, :]
        rising = self.edge[seen : seen + count]
        if len(rising):
            done = torch.cat([done[..., : len(rising), :] / rising, done[..., len(rising) :, :]], dim=-2)
        skipped = max(0, self.trim - seen * self.hop)
        return done.flatten(-2)[..., skipped:], StreamState(tail.flatten(-2), seen + count)

    def flush(self, state: StreamState) -> Tensor:
        """The last samples of a stream."""
        blocks = state.tail.unflatten(-1, (-1, self.hop)) / self._falling(self.edge.shape[0])
        return blocks.flatten(-2)[..., : state.tail.shape[-1] - self.trim]

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """-> `[... n + overlap - 1, hop]`, scaled for the steady envelope.

        Shifted additions of whole hops: about twice as fast as `torch.istft`.
        """
        overlap = self.n_fft // self.hop
        frames = torch.fft.irfft(spectrum.mT, n=self.n_fft).unflatten(-1, (overlap, self.hop))
        frames = frames * self.synthesis
        count = frames.shape[-3]
        blocks = frames.new_zeros(*frames.shape[:-3], count + overlap - 1, self.hop)
        for shift in range(overlap):
            blocks[..., shift : shift + count, :] += frames[..., shift, :]
        return blocks

    def _falling(self, count: int) -> Tensor:
        """The last `count` rows of the envelope at the end: what the frames that never came don't add."""
        return (1 - self.edge[-count:]).clamp_min(1e-8)

    def _short_envelope(self, count: int) -> Tensor:
        """Envelope of fewer frames than overlap, as a share of the steady one."""
        overlap = self.n_fft // self.hop
        squares = self.window.square().view(overlap, self.hop)
        envelope = squares.new_zeros(count + overlap - 1, self.hop)
        for frame in range(count):
            envelope[frame : frame + overlap] += squares
        return (envelope / squares.sum(0)).clamp_min(1e-8)


# Mel


def mel_filterbank(sample_rate: int, n_fft: int, bands: int, low: float = 0.0, high: float | None = None,
                   scale: Literal["slaney", "htk"] = "slaney") -> Tensor:
    """Triangular filters `[bands f]`.

    "slaney": linear below 1 kHz, logarithmic above, triangles of equal area (2 / bandwidth in Hz), as in
    Slaney's Auditory Toolbox. "htk": mel = 2595 log10(1 + f/700), triangles of height 1.
    """
    to_mel, to_hertz = _SCALES[scale]
    high = sample_rate / 2 if high is None else high
    corners = to_hertz(torch.linspace(to_mel(torch.tensor(low, dtype=torch.float64)).item(),
                                      to_mel(torch.tensor(high, dtype=torch.float64)).item(),
                                      bands + 2, dtype=torch.float64))
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sample_rate / n_fft
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    filters = torch.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)).clamp_min(0)
    if scale == "slaney":
        filters = filters * 2 / (right - left)
    return filters.float()


def _slaney_mel(hertz: Tensor) -> Tensor:
    return torch.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * torch.log(hertz.clamp_min(1) / 1000) / math.log(6.4))


def _slaney_hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) / 27 * math.log(6.4)))


def _htk_mel(hertz: Tensor) -> Tensor:
    return 2595 * torch.log10(1 + hertz / 700)


def _htk_hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)


_SCALES = {"slaney": (_slaney_mel, _slaney_hertz), "htk": (_htk_mel, _htk_hertz)}


class LogMel(nn.Module):
    """audio `[... t]` -> natural log of mel magnitudes `[... bands n]`, floored at `LOG_FLOOR`."""

    filters: Tensor

    def __init__(self, sample_rate: int, n_fft: int = 2048, hop: int = 512, bands: int = 80,
                 low: float = 0.0, high: float | None = None,
                 scale: Literal["slaney", "htk"] = "slaney") -> None:
        super().__init__()
        self.stft = STFT(n_fft, hop)
        self.register_buffer("filters", mel_filterbank(sample_rate, n_fft, bands, low, high, scale),
                             persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        with torch.autocast(audio.device.type, enabled=False):
            return (self.filters @ self.stft(audio).abs()).clamp_min(LOG_FLOOR).log()


# Constant Q


class ConstantQ(nn.Module):
    """Constant-Q magnitudes: every bin's Hann window spans the same number of its own periods.

    audio `[... t]` -> `[... bins n]`, n = t//hop + 1; a sine of amplitude A at a bin's frequency gives A.

    One FFT of the whole clip; each bin multiplies it by the Hann window's frequency response around its
    own frequency, and the product is folded to the frame rate and transformed back (the filter-bank view
    of the constant-Q transform: Velasco et al., 2011). Q = 1 / (2^(1/bins_per_octave) - 1), as in Brown,
    1991. Clips longer than `block` seconds are taken in blocks.
    """

    frequencies: Tensor

    def __init__(self, sample_rate: int, hop: int = 512, low: float = 27.5, high: float = 16_000.0,
                 bins_per_octave: int = 36, block: float = 24.0) -> None:
        super().__init__()
        high = min(high, 0.49 * sample_rate)
        bins = int(math.log2(high / low) * bins_per_octave) + 1
        self.sample_rate, self.hop = sample_rate, hop
        self.q = 1 / (2 ** (1 / bins_per_octave) - 1)
        self.context = math.ceil(self.q * sample_rate / low / 2 / hop)  # frames: half the longest window
        self.block = max(1, round(block * sample_rate / hop))  # frames
        frequencies = low * 2 ** (torch.arange(bins, dtype=torch.float64) / bins_per_octave)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """audio `[... t]` -> magnitudes `[... bins n]`."""
        count = audio.shape[-1] // self.hop + 1
        pad = self.context * self.hop
        padded = nn.functional.pad(audio.float(), (pad, pad + self.hop))
        pieces = []
        for start in range(0, count, self.block):
            frames = min(self.block, count - start)
            total = _fast_size(frames + 2 * self.context)
            piece = padded[..., start * self.hop : (start + total) * self.hop]
            piece = nn.functional.pad(piece, (0, total * self.hop - piece.shape[-1]))
            pieces.append(self._whole(piece)[..., self.context : self.context + frames])
        return torch.cat(pieces, dim=-1)

    def log(self, audio: Tensor, floor_db: float = 60.0) -> Tensor:
        """Natural log of the magnitudes, floored `floor_db` below the peak of each clip (`[... t]`)."""
        magnitude = self(audio)
        return floored_log(magnitude, magnitude.amax((-2, -1), keepdim=True), floor_db)

    def _whole(self, audio: Tensor) -> Tensor:
        """audio `[... n·hop]` -> magnitudes `[... bins n]`, circular at the edges."""
        size = audio.shape[-1]
        frames = size // self.hop
        spectrum = torch.fft.rfft(audio, norm="forward")
        folded = []
        for start, response in _responses(tuple(self.frequencies.tolist()), self.q, self.sample_rate, size):
            band = spectrum[..., start : start + len(response)] * response.to(audio.device)
            left = start % frames  # sampling at the frame rate folds the band modulo the frame count
            right = -(left + len(response)) % frames
            folded.append(nn.functional.pad(band, (left, right)).unflatten(-1, (-1, frames)).sum(-2))
        return 2 * torch.fft.ifft(torch.stack(folded, dim=-2), norm="forward").abs()


def floored_log(magnitude: Tensor, peak: Tensor, floor_db: float = 60.0) -> Tensor:
    """Natural log of magnitudes, nothing lower than `floor_db` under `peak` (for comparing two clips, the
    original's peak)."""
    return magnitude.maximum(peak * 10 ** (-floor_db / 20)).clamp_min(LOG_FLOOR * 1e-3).log()


@lru_cache(maxsize=4)
def _responses(frequencies: tuple[float, ...], q: float, sample_rate: int,
               size: int) -> list[tuple[int, Tensor]]:
    """For every bin: the first FFT bin that it hears, and its response from there on.

    A Hann window of L seconds has the response sinc(fL) / (1 - (fL)²); beyond fL = 16 it is under -80 dB.
    """
    responses = []
    for frequency in frequencies:
        seconds = q / frequency
        reach = 16 / seconds
        start = max(0, math.ceil((frequency - reach) * size / sample_rate))
        stop = min(size // 2 + 1, math.floor((frequency + reach) * size / sample_rate) + 1)
        lobes = (torch.arange(start, stop, dtype=torch.float64) * sample_rate / size - frequency) * seconds
        near_one = (lobes.abs() - 1).abs() < 1e-6  # the limit there is 1/2
        safe = torch.where(near_one, torch.zeros_like(lobes), lobes)
        response = torch.where(near_one, torch.full_like(lobes, 0.5), torch.sinc(safe) / (1 - safe**2))
        responses.append((start, response.float()))
    return responses


def _fast_size(size: int) -> int:
    """The next number whose only factors are 2, 3 and 5."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
