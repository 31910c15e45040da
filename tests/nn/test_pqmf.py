"""The filter bank gives sound back, splits it by frequency, and does the same in blocks."""

import math

import pytest
import torch

from orchestrion.nn.pqmf import PQMF
from plucks import pluck_tune

RATE = 44_100


def signals():
    torch.manual_seed(0)
    time = torch.arange(RATE) / RATE
    chirp = 0.5 * torch.sin(2 * math.pi * (20 * time + (20_000 - 20) / 2 * time**2))
    return {"noise": 0.3 * torch.randn(RATE), "chirp": chirp, "plucks": torch.from_numpy(pluck_tune(1.0)[0])}


def decibels(error, real):
    return 20 * math.log10(error.norm() / real.norm())


@pytest.mark.parametrize("name", ["noise", "chirp", "plucks"])
@pytest.mark.parametrize("causal", [False, True])
def test_what_is_split_and_joined_is_the_same(name, causal):
    audio = signals()[name][None, None, : RATE // 16 * 16]
    bank = PQMF(causal=causal)
    again = bank.inverse(bank(audio))
    late = 16 * (bank.left + 1) if causal else 16
    inside = slice(2000, -2000)
    error = (again[..., late:] - audio[..., : audio.shape[-1] - late])[..., inside]
    assert decibels(error, audio[..., inside]) < -70


def test_a_tone_sounds_in_its_own_band():
    bank = PQMF()
    for band in (0, 5, 15):
        hertz = (band + 0.5) * RATE / 32
        tone = torch.sin(2 * math.pi * hertz * torch.arange(16 * 800).double() / RATE).float()
        power = bank(tone[None, None])[0, :, 0, 100:-100].square().mean(-1)
        others = torch.cat([power[:band], power[band + 1 :]]).sum()
        assert others < 1e-8 * power[band]


def test_odd_bands_are_not_mirrored():
    """A tone that rises within a band rises in the band's own frequency too."""
    bank = PQMF()
    for band in (2, 3):
        peaks = []
        for place in (0.3, 0.7):
            tone = torch.sin(2 * math.pi * (band + place) / 32 * torch.arange(16 * 1024))
            spectrum = torch.fft.rfft(bank(tone[None, None])[0, band, 0, 100:-100] * torch.hann_window(824)).abs()
            peaks.append(spectrum.argmax().item() / 412)
        assert peaks == pytest.approx([0.3, 0.7], abs=0.02)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block", [7, 512, 1000])
def test_blocks_equal_the_whole(causal, block):
    torch.manual_seed(0)
    audio, bank = torch.randn(2, 1, 160 * 16), PQMF(causal=causal)
    bands, made = [], []
    past, back = [], []
    pieces = audio.split(block, -1)
    for i, piece in enumerate(pieces):
        new, new_back, last = [], [], i == len(pieces) - 1
        bands.append(bank.stream(piece, past, new, last))
        made.append(bank.stream_inverse(bands[-1], back, new_back, last))
        past, back = new, new_back
    assert torch.allclose(torch.cat(bands, -1), bank(audio), atol=1e-5)
    assert torch.allclose(torch.cat(made, -1), bank.inverse(bank(audio)), atol=1e-5)
