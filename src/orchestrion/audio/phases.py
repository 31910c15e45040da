"""Phase recovery: audio from magnitudes alone, and magnitudes from mel bands."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from orchestrion.audio.spectra import STFT


def griffin_lim(stft: STFT, magnitude: Tensor, iterations: int = 8, momentum: float = 0.99) -> Tensor:
    """Magnitudes `[… f n]` of `stft` -> audio `[… t]` whose spectrum comes near to them.

    Fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013, algorithm 2) from phases that already follow the partials
    (`partial_phases`), where the usual random ones need 32 iterations for the same error. No randomness:
    the same magnitudes give the same audio.
    """
    spectrum = torch.polar(magnitude, partial_phases(magnitude, stft.n_fft, stft.hop))

    def nearest(wanted: Tensor) -> Tensor:
        return stft(stft.inverse(wanted))[..., : magnitude.shape[-1]]

    return stft.inverse(agreeing(spectrum, nearest, iterations, momentum / (1 + momentum)))


def agreeing(spectrum: Tensor, nearest: Callable[[Tensor], Tensor], iterations: int, ahead: float = 0.9) -> Tensor:
    """Complex frames that need not be the spectrum of any signal -> the same magnitudes, with phases that come nearer
    to one with each iteration.

    nearest: frames -> the spectrum of the audio that they make, overlapped and added. ahead: how far to go on in the
    direction of the last change, as fast Griffin-Lim does. Where the phases of neighbours contradict each other,
    partials fade and return, and sound struck again.
    """
    magnitude, before = spectrum.abs(), None
    for _ in range(iterations):
        found = nearest(spectrum)
        leading = found if before is None else found + ahead * (found - before)
        before = found
        # a constant under the root, 100 dB under what a full-scale sine gives: gradients there stay finite
        spectrum = leading * (magnitude / (leading.real.square() + leading.imag.square() + 1e-6).sqrt())
    return spectrum


def partial_phases(magnitude: Tensor, n_fft: int, hop: int) -> Tensor:
    """Magnitudes `[… f n]` -> phases of partials that go on steadily from frame to frame (single-pass spectrogram
    inversion: Beauregard, Harish & Wyse 2015).

    Each bin follows the nearest peak of its frame: from the phase that the peak's bin had a frame ago, it advances by
    the peak's frequency, found between the bins by a parabola through the logarithms. Neighbours across a Hann
    window's main lobe differ by half a turn.
    """
    bins = magnitude.shape[-2]
    level = magnitude.clamp_min(1e-9).log()
    below, here, above = level[..., :-2, :], level[..., 1:-1, :], level[..., 2:, :]
    bend = (2 * here - below - above).clamp_min(1e-6)
    offset = nn.functional.pad(((above - below) / (2 * bend)).clamp(-0.5, 0.5), (0, 0, 1, 1))
    peak = nn.functional.pad((here > below) & (here >= above), (0, 0, 1, 1))
    place = torch.arange(bins, device=magnitude.device)[:, None].expand_as(magnitude)
    left = torch.where(peak, place, -bins).cummax(-2).values
    right = torch.where(peak, place, 2 * bins).flip(-2).cummin(-2).values.flip(-2)
    nearest = torch.where(place - left <= right - place, left, right)
    nearest = torch.where((nearest < 0) | (nearest >= bins), place, nearest)  # a frame without peaks
    frequency = (nearest + offset.gather(-2, nearest)).double() / n_fft  # turns a sample
    advance = (frequency * hop % 1.0).float()
    turns = [advance[..., 0]]
    for now, step in zip(nearest.unbind(-1)[1:], advance.unbind(-1)[1:]):
        turns.append((turns[-1].gather(-1, now) + step) % 1.0)  # where the peak was a frame ago, and a step on
    return 2 * torch.pi * torch.stack(turns, -1) + torch.pi * (place % 2)


class MelInverse(nn.Module):
    """Mel powers `[… bands n]` -> the non-negative powers `[… f n]` that give them, nearly.

    The pseudo-inverse, cut at zero, then multiplicative steps towards the least squares (Daube-Witherspoon &
    Muehllehner 1986), which keep what is zero zero and need no step size.
    """

    filters: Tensor
    inverse: Tensor
    correlation: Tensor

    def __init__(self, filters: Tensor, steps: int = 8) -> None:
        """filters `[bands f]`, as `mel_filterbank` gives them."""
        super().__init__()
        self.steps = steps
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("inverse", torch.linalg.pinv(filters.double(), rtol=1e-3).float(), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        power = (self.inverse @ mel).clamp_min(0) + 1e-3 * (self.filters.T @ mel)
        wanted = self.filters.T @ mel
        for _ in range(self.steps):
            power = power * wanted / (self.filters.T @ (self.filters @ power)).clamp_min(1e-20)
        return power
