"""Clips as the measures want them: mono, float64, checked; and the spectra that they share."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from orchestrion.errors import UserError

Clip = Tensor | np.ndarray
"""One clip `[c t]` or `[t]`, in [-1, 1]."""

TINY = 1e-12


def mono(clip: Clip) -> Tensor:
    """The mean of the channels, `[t]` float64. Refuses an empty clip and numbers that aren't finite."""
    audio = torch.as_tensor(clip).detach().to("cpu", torch.float64)
    audio = audio.mean(0) if audio.ndim == 2 else audio
    if audio.ndim != 1 or len(audio) == 0:
        raise UserError(f"a clip to be measured has the shape {tuple(audio.shape)}; give [channels, samples]")
    if not torch.isfinite(audio).all():
        raise UserError("a clip to be measured holds NaN or infinity: the model that made it is broken")
    return audio


def pair(real: Clip, made: Clip) -> tuple[Tensor, Tensor]:
    """An original and its reconstruction, mono `[t]`; they must be equally long."""
    first, second = mono(real), mono(made)
    if first.shape != second.shape:
        raise UserError(f"an original of {len(first)} samples can't be compared with a reconstruction of "
                        f"{len(second)}: cut both to the same length")
    return first, second


def pairs(real: Sequence[Clip], made: Sequence[Clip]) -> list[tuple[Clip, Clip]]:
    """Originals beside reconstructions, in order; one for each."""
    if len(real) != len(made) or not len(real):
        raise UserError(f"{len(real)} originals and {len(made)} reconstructions can't be paired: "
                        "give one for each, at least one")
    return list(zip(real, made))


def magnitudes(audio: Tensor, window: int, hop: int) -> Tensor:
    """audio `[t]` -> |STFT| `[f n]`, periodic Hann, frame i centred on sample i·hop, silence outside.

    Divided by the root of the window's energy: white noise of deviation s has a root mean square of s in
    every bin, whatever the window. (16-bit quantisation noise thus lies at 9e-6.)
    """
    shape = torch.hann_window(window, dtype=audio.dtype)
    spectrum = torch.stft(audio, window, hop, window=shape, center=True, pad_mode="constant",
                          return_complex=True)
    return spectrum.abs() / shape.square().sum().sqrt()


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
