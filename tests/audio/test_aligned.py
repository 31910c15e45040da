import pytest
import torch

from orchestrion.audio.aligned import AlignedSTFT


@pytest.mark.parametrize(("size", "hop"), [(2048, 512), (1024, 512), (1024, 256)])
def test_inverse_of_forward_is_the_signal(size, hop):
    stft = AlignedSTFT(size, hop)
    audio = torch.randn(2, hop * 24)
    assert stft(audio).shape == (2, 24, size // 2 + 1)
    assert torch.allclose(stft.inverse(stft(audio)), audio, atol=2e-6)


def test_a_tone_at_a_bins_centre_keeps_the_phase_it_started_with():
    stft, phase = AlignedSTFT(2048, 512), 0.7
    time = torch.arange(2048 * 8)
    spectrum = stft(torch.cos(2 * torch.pi * 100 * time / 2048 + phase)[None])[0, 3:-3, 100]
    assert torch.allclose(spectrum.angle(), torch.full((26,), phase), atol=1e-3)
    assert torch.allclose(spectrum.abs(), torch.full((26,), 2048 / 4), rtol=1e-3)


def test_a_shift_by_one_window_shifts_the_frames_and_nothing_else():
    stft, audio = AlignedSTFT(2048, 512), torch.randn(1, 2048 * 6)
    later = stft(torch.nn.functional.pad(audio, (2048, 0))[:, : 2048 * 6])
    assert torch.allclose(later[:, 6:-2], stft(audio)[:, 2:-6], atol=1e-3)


def test_a_hop_that_the_clock_cannot_follow_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        AlignedSTFT(2048, 768)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_the_ends_are_as_loud_as_the_middle_however_few_frames_there_are(count):
    """The inverse by its definition, windowed frames over the sum of squared windows, at every length."""
    stft, hop = AlignedSTFT(256, 64), 64
    spectrum = torch.fft.rfft(torch.randn(1, count, 256))
    wanted, weight = torch.zeros(2, (count + 3) * hop)
    for i, frame in enumerate(torch.fft.irfft(spectrum * stft._clock(count))[0]):
        wanted[i * hop : i * hop + 256] += frame * stft.window
        weight[i * hop : i * hop + 256] += stft.window**2
    inside = slice(stft.margin, stft.margin + count * hop)
    assert torch.allclose(stft.inverse(spectrum)[0], (wanted / weight)[inside], atol=1e-5)


def test_blocks_of_frames_join_to_the_whole():
    stft = AlignedSTFT(1024, 256)
    spectrum = torch.fft.rfft(torch.randn(2, 40, 1024))
    turned = torch.polar(spectrum.abs(), spectrum.angle() + stft.angles(40))
    for size in (1, 2, 16, 40):
        assert torch.allclose(stft.join(turned.split(size, 1)), stft.inverse(spectrum), atol=1e-5)
    with pytest.raises(ValueError, match="no spectrum"):
        stft.join([])
