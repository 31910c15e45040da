import pytest
import torch

from orchestrion.audio.aligned import AlignedSTFT
from orchestrion.audio.phases import agreeing


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


def test_a_steady_tone_whose_frames_disagree_on_its_phase_is_made_steady():
    """Phases a radian amiss, each frame's by itself, make a tone flutter. Griffin-Lim brings its spectrum nearer to
    what was wanted with every step, and takes the flutter away."""
    torch.manual_seed(0)
    stft, time = AlignedSTFT(1024, 256), torch.arange(256 * 64)
    wanted = stft(torch.cos(2 * torch.pi * 40.3 * time / 1024)[None])
    astray = wanted * torch.polar(torch.ones(64), torch.randn(64))[None, :, None]
    starts = torch.polar(torch.ones(()), stft.angles(64))
    errors, flutter = [], []
    for iterations in (0, 1, 2, 8):
        audio = stft.join([agreeing(astray * starts, stft.nearest, iterations)])
        errors.append(float((stft(audio).abs() - wanted.abs()).norm() / wanted.norm()))
        level = audio[0, 256 * 16 : -256 * 16].unfold(0, 128, 64).square().mean(1).sqrt()
        flutter.append(float(level.std() / level.mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.25 * errors[0]
    assert flutter[-1] < 0.2 * flutter[0]


def test_a_spectrum_that_agrees_already_stays():
    stft = AlignedSTFT(1024, 256)
    spectrum = stft.nearest(stft(torch.randn(2, 256 * 20)))
    assert torch.allclose(agreeing(spectrum, stft.nearest, 3), spectrum, atol=1e-3)
    assert torch.equal(agreeing(spectrum, stft.nearest, 0), spectrum)
