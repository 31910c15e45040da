"""A bank of band-pass filters that splits sound into bands at a fraction of the rate, and back: a pseudo-QMF.

Cosine modulation of one prototype: a Kaiser window's, its cutoff chosen so that the bands add up again (Nguyen 1994;
Lin & Vaidyanathan 1998, IEEE 681427; figures as RAVE's pqmf.py). RAVE stops there, 60 dB from what went in; here the
taps are then moved, by about 2e-5, to where the bands add up better. Both directions are convolutions in polyphase
form: of frames of as many samples as there are bands, so that no sample is computed that would be thrown away.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from scipy.optimize import fmin
from scipy.signal import firwin, kaiserord
from torch import Tensor, nn

from orchestrion.nn.streaming import join, pads


@lru_cache
def prototype(attenuation: float, bands: int) -> np.ndarray:
    """Low-pass filter whose autocorrelation vanishes at multiples of 2·bands: so the bands' powers add up to one."""

    def filter_at(cutoff: float) -> np.ndarray:
        taps, beta = kaiserord(attenuation, cutoff / np.pi)
        return firwin(2 * (taps // 2) + 1, cutoff, window=("kaiser", beta), scale=False, fs=2 * np.pi)

    def overlap(cutoff: np.ndarray) -> float:
        return float(np.abs(_autocorrelation(filter_at(float(cutoff[0])), 2 * bands)[1:]).max())

    return complementary(filter_at(float(fmin(overlap, np.array([1 / bands]), disp=False)[0])), bands)


def complementary(taps: np.ndarray, bands: int) -> np.ndarray:
    """Taps near these whose autocorrelation is 1/(2·bands) at 0 and 0 at the multiples of 2·bands, by Newton's steps.

    Only as far as small steps under a window reach: what is left is 80 dB down, and the stop band stays at -98 dB.
    """
    window = np.kaiser(len(taps), 10) ** 0.5
    shifts = range(0, len(taps), 2 * bands)
    wanted = np.zeros(len(shifts))
    wanted[0] = 1 / (2 * bands)
    for _ in range(12):
        padded = np.pad(taps, len(taps))
        middle = np.arange(len(taps), 2 * len(taps))
        slope = np.stack([padded[middle + s] + padded[middle - s] for s in shifts])
        step = np.linalg.lstsq(slope * window, wanted - _autocorrelation(taps, 2 * bands), rcond=1e-2)[0]
        taps = taps + window * step
    return taps


def _autocorrelation(taps: np.ndarray, step: int) -> np.ndarray:
    return np.convolve(taps, taps[::-1], "full")[len(taps) - 1 :: step]


def filter_bank(attenuation: float, bands: int) -> Tensor:
    """-> filters `[bands taps]`, taps a power of two: h_k(t) = 2 h(t) cos((2k+1) π/(2·bands) t + (-1)^k π/4)."""
    h = torch.from_numpy(prototype(attenuation, bands)).float()
    k, t = torch.arange(bands)[:, None], torch.arange(len(h)) - len(h) // 2
    filters = 2 * h * torch.cos((2 * k + 1) * math.pi / (2 * bands) * t + (-1.0) ** k * math.pi / 4)
    pad = 2 ** math.ceil(math.log2(len(h))) - len(h)
    return nn.functional.pad(filters, (pad // 2, pad - pad // 2))


class PQMF(nn.Module):
    """audio `[b 1 t]` <-> bands `[b bands 1 t/bands]`, always in float32.

    Every odd band is mirrored in frequency by the decimation; the sign of every other sample turns it back.
    """

    filters: Tensor
    signs: Tensor

    def __init__(self, bands: int = 16, attenuation: float = 100.0, causal: bool = False) -> None:
        super().__init__()
        self.bands = bands
        self.kept: dict[str, tuple[object, Tensor]] = {}
        self.register_buffer("filters", filter_bank(attenuation, bands))  # saved: imported models have their own
        self.left, self.right = pads(self.filters.shape[1] // bands + 1, 1, causal)
        signs = torch.ones(1, bands, 1, 2)
        signs[:, 1::2, :, ::2] = -1
        self.register_buffer("signs", signs, persistent=False)

    def analysis(self) -> Tensor:
        """The filters in polyphase form, as `conv2d` takes them `[k m 1 n]`; n frames, one more for the middle."""
        if torch.jit.is_scripting():
            return self._analysis()
        else:
            return self._kept("analysis", self._analysis)

    def synthesis(self) -> Tensor:
        if torch.jit.is_scripting():
            return self._synthesis()
        else:
            return self._kept("synthesis", self._synthesis)

    @torch.jit.unused
    def _kept(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """From the shelf, where the filters are still those that it was made of."""
        state = (self.filters.data_ptr(), 0 if self.filters.is_inference() else self.filters._version)
        if name not in self.kept or self.kept[name][0] != state:
            with torch.inference_mode(False), torch.no_grad():  # to be of use in training too
                self.kept[name] = (state, make())
        return self.kept[name][1]

    def _analysis(self) -> Tensor:
        frames = nn.functional.pad(self.filters, (0, self.bands)).reshape(self.bands, -1, self.bands)
        return _channels_last(frames.permute(0, 2, 1))

    def _synthesis(self) -> Tensor:
        frames = nn.functional.pad(self.filters.flip(-1), (0, self.bands)).reshape(self.bands, -1, self.bands)
        return _channels_last(frames.permute(2, 0, 1).flip(0) * self.bands)

    def forward(self, audio: Tensor) -> Tensor:
        """audio `[b 1 t]`, t a multiple of `bands` -> bands."""
        past: list[Tensor] = []
        new: list[Tensor] = []
        return self.stream(audio, past, new, True)

    def inverse(self, bands: Tensor) -> Tensor:
        """bands -> audio `[b 1 t]`."""
        past: list[Tensor] = []
        new: list[Tensor] = []
        return self.stream_inverse(bands, past, new, True)

    def stream(self, audio: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        """The next samples -> the bands that they complete; see `nn.streaming`."""
        audio = join(past, new, audio, 0)
        whole = audio.shape[-1] // self.bands * self.bands
        new.append(audio[..., whole:])
        frames = audio[..., :whole].reshape(audio.shape[0], 1, -1, self.bands).permute(0, 3, 1, 2)
        return self._signed(self._filter(frames, self.analysis(), past, new, final), past, new)

    def stream_inverse(self, bands: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        """The next band samples -> the audio that they complete."""
        frames = self._filter(self._signed(bands.float(), past, new), self.synthesis(), past, new, final)
        return frames.permute(0, 2, 3, 1).reshape(bands.shape[0], 1, -1)

    def _filter(self, x: Tensor, kernel: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        x = join(past, new, x, self.left)
        if final:
            x = nn.functional.pad(x, (0, self.right))
        count = max(0, x.shape[-1] - self.left - self.right)
        new.append(x[..., count:])
        if count == 0:
            return x.new_zeros(x.shape[0], self.bands, 1, 0)
        if torch.jit.is_scripting():
            return nn.functional.conv2d(x, kernel)
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.conv2d(x.float(), kernel)

    def _signed(self, x: Tensor, past: list[Tensor], new: list[Tensor]) -> Tensor:
        turn = len(new)
        signs = past[turn] if turn < len(past) else self.signs
        count = x.shape[-1]
        new.append(signs.roll(-(count % 2), -1))
        return x * signs.repeat(1, 1, 1, count // 2 + 1)[..., :count]


def _channels_last(kernel: Tensor) -> Tensor:
    """`[o i k]` -> `[o i 1 k]`, laid out for channels-last input."""
    return kernel.unsqueeze(2).contiguous(memory_format=torch.channels_last)
