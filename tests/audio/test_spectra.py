import math

import pytest
import torch

from orchestrion.audio.spectra import STFT, ConstantQ, LogMel, floored_log, mel_filterbank

SIZES = [(2048, 512), (2048, 1024), (1024, 256), (512, 64)]


def tone(frequency, seconds=2.0, sample_rate=44_100, amplitude=0.5):
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return (amplitude * torch.sin(2 * math.pi * frequency * time)).float()


@pytest.mark.parametrize("n_fft, hop", SIZES)
def test_centred_stft_and_inverse_are_torchs(n_fft, hop):
    audio, window = torch.randn(2, 3, 20_000), torch.hann_window(n_fft)
    ours = STFT(n_fft, hop)
    theirs = torch.stft(audio.flatten(0, 1), n_fft, hop, window=window, return_complex=True)
    assert torch.allclose(ours(audio).flatten(0, 1), theirs, atol=1e-4)
    spectrum = torch.randn_like(theirs) * n_fft**0.5  # of no real signal, so that the edges count too
    expected = torch.istft(spectrum, n_fft, hop, window=window)
    assert (ours.inverse(spectrum) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("n_fft, hop", SIZES)
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 50])
def test_same_padding_gives_a_frame_a_hop_and_comes_back(n_fft, hop, frames):
    stft, audio = STFT(n_fft, hop, padding="same"), torch.randn(2, frames * hop)
    spectrum = stft(audio)
    assert spectrum.shape == (2, n_fft // 2 + 1, frames)
    assert (stft.inverse(spectrum) - audio).abs().max() < 1e-4


@pytest.mark.parametrize("padding", ["centre", "same"])
@pytest.mark.parametrize("block", [1, 3, 10])
def test_a_stream_equals_the_whole(padding, block):
    stft = STFT(1024, 256, padding=padding)
    spectrum = torch.randn(2, 513, 31, dtype=torch.complex64)
    pieces, state = [], None
    for part in spectrum.split(block, dim=-1):
        audio, state = stft.stream(part, state)
        pieces.append(audio)
    pieces.append(stft.flush(state))
    assert (torch.cat(pieces, -1) - stft.inverse(spectrum)).abs().max() < 1e-5


def test_the_inverse_can_be_trained_through():
    stft, spectrum = STFT(256, 64), torch.randn(129, 12, dtype=torch.complex64, requires_grad=True)
    audio = stft.inverse(spectrum)
    gradient, = torch.autograd.grad(audio.square().sum(), spectrum)
    nudge = torch.randn_like(spectrum) * 1e-3
    expected = stft.inverse(spectrum + nudge).square().sum() - stft.inverse(spectrum - nudge).square().sum()
    assert torch.allclose(2 * (gradient.conj() * nudge).real.sum(), expected, rtol=1e-2, atol=1e-4)


def test_hops_that_leave_gaps_are_refused():
    for n_fft, hop in ((1000, 300), (512, 512)):
        with pytest.raises(ValueError, match="hop must divide"):
            STFT(n_fft, hop)


# Mel


def test_htk_filters_peak_at_evenly_spaced_mels():
    filters = mel_filterbank(44_100, 8192, 40, scale="htk")
    peaks = filters.argmax(1).double() * 44_100 / 8192
    mels = 2595 * torch.log10(1 + peaks / 700)
    assert torch.allclose(mels.diff(), mels.diff().mean(), atol=15.0)
    assert filters.max() <= 1


def test_slaney_filters_have_equal_area():
    filters = mel_filterbank(44_100, 16_384, 40)
    area = filters.sum(1) * 44_100 / 16_384
    assert torch.allclose(area, torch.ones(40), atol=0.02)


def test_slaney_scale_is_linear_below_1_khz():
    filters = mel_filterbank(44_100, 32_768, 80)
    peaks = filters.argmax(1) * 44_100 / 32_768
    low = peaks[peaks < 1000].diff()
    assert torch.allclose(low, low.mean().expand_as(low), atol=2.0)


def test_a_tone_is_loudest_in_its_mel_band_and_silence_is_the_floor():
    mel = LogMel(44_100)
    centres = mel.filters.argmax(1) * 44_100 / 2048
    level = mel(tone(3000.0)).mean(-1)
    assert abs(centres[level.argmax()] - 3000) < 150
    assert mel(torch.zeros(44_100)).max() == pytest.approx(math.log(1e-5))


# Constant Q


@pytest.fixture(scope="module")
def constant_q():
    return ConstantQ(44_100)


def test_bins_are_36_to_the_octave_from_a0(constant_q):
    assert constant_q.frequencies[0] == 27.5
    assert constant_q.frequencies[36 * 4] == pytest.approx(440.0)
    assert constant_q.frequencies[-1] <= 16_000


@pytest.mark.parametrize("bin", [30, 144, 250, 325])
def test_a_pure_tone_shows_its_amplitude_in_its_bin_alone(constant_q, bin):
    magnitude = constant_q(tone(constant_q.frequencies[bin].item(), seconds=4.0))[:, 170]
    assert magnitude[bin] == pytest.approx(0.5, rel=0.01)
    assert magnitude.argmax() == bin
    # One bin away the Hann window's response is 1/2, two bins away it is (nearly) zero.
    assert magnitude[bin - 1] / 0.5 == pytest.approx(0.5, abs=0.02)
    far = torch.cat([magnitude[: bin - 4], magnitude[bin + 5 :]])
    assert far.max() < 0.5 * 10 ** (-35 / 20)


def test_a_third_of_a_semitone_is_told_apart(constant_q):
    """Two notes 2/3 of a semitone apart are two peaks, with a valley between."""
    pair = tone(440.0, 4.0) + tone(440.0 * 2 ** (2 / 36 * 1.5), 4.0)
    around = constant_q(pair)[140:152, 100:240].mean(-1)
    assert around[4] > 0.4 and around[7] > 0.4 and min(around[5], around[6]) < 0.85 * around[4]


def test_a_click_is_where_it_was_at_every_pitch(constant_q):
    audio = torch.zeros(44_100 * 4)
    audio[512 * 170] = 1.0
    magnitude = constant_q(audio)
    assert (magnitude[60:].argmax(-1) - 170).abs().max() <= 1
    # Window lengths: a high bin's click is short, a low bin's is long.
    assert (magnitude[300] > 0.01 * magnitude[300].max()).sum() < 6
    assert (magnitude[36] > 0.01 * magnitude[36].max()).sum() > 60


def test_long_clips_are_taken_in_blocks_without_a_trace():
    audio = torch.randn(44_100 * 12)
    blocks, whole = ConstantQ(44_100, block=3.0), ConstantQ(44_100, block=60.0)
    assert (blocks(audio) - whole(audio)).abs().max() < 1e-4 * whole(audio).max()


def test_batches_equal_single_clips(constant_q):
    audio = torch.randn(2, 2, 22_050)
    assert torch.allclose(constant_q(audio)[1, 0], constant_q(audio[1, 0]), atol=1e-6)


def test_logarithms_are_floored_under_the_peak(constant_q):
    level = constant_q.log(tone(440.0), floor_db=60.0)
    assert (level.max() - level.min()).item() == pytest.approx(60 / 20 * math.log(10), rel=1e-3)
    assert floored_log(torch.zeros(3), torch.ones(1)).tolist() == pytest.approx([math.log(1e-3)] * 3)
