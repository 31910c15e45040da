"""Waveforms as samples or as bands: both come back exactly, and bands are as strong as each other."""

import pytest
import torch

from orchestrion.codecs.waveform import WaveformConfig
from orchestrion.errors import UserError


def coloured(seed: int, channels: int = 1) -> torch.Tensor:
    """Noise that falls by 60 dB towards the highest frequencies."""
    torch.manual_seed(seed)
    spectrum = torch.fft.rfft(torch.randn(2, channels, 16 * 600))
    return 0.1 * torch.fft.irfft(spectrum * 10 ** (-3 * torch.linspace(0, 1, spectrum.shape[-1])))


@pytest.mark.parametrize("bands", [1, 32])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_goes_in_comes_out(bands, channels):
    codec = WaveformConfig(channels=channels, bands=bands).build()
    codec.begin([coloured(seed, channels) for seed in range(4)])
    audio = coloured(9, channels)[..., :9001]
    latents = codec.encode(audio)
    assert latents.shape[1] == channels * bands
    assert (codec.decode(latents, 9001) - audio).abs().max() < 1e-6


def test_every_band_is_as_strong_as_any_other():
    codec = WaveformConfig(bands=32).build()
    codec.begin([coloured(seed) for seed in range(4)])
    powers = codec.encode(coloured(9)).square().mean((0, 2))
    assert powers.min() > 0.7 and powers.max() < 1.4


def test_chunks_are_as_the_whole_but_for_a_frame_at_their_ends():
    codec = WaveformConfig(bands=32).build()
    latents = torch.randn(1, 32, 40)
    whole, part = codec.decode(latents), codec.decode(latents[..., 9:31])
    assert (part[..., 32:-32] - whole[..., 10 * 32 : 30 * 32]).abs().max() < 1e-6


@pytest.mark.parametrize("bands", [7, 2_000_000])
def test_odd_numbers_of_bands_and_too_many_are_refused(bands):
    with pytest.raises(UserError, match="even number of them, 4096 at most"):
        WaveformConfig(bands=bands).build()
