import pytest
import torch

from orchestrion.codecs.musika import BlockNoise, Frames, MusikaCodecConfig, Upsample, polar
from orchestrion.codecs.per_channel import PerChannelConfig
from orchestrion.contracts import Discrete
from orchestrion.errors import UserError

SMALL = MusikaCodecConfig(sample_rate=8000, hop=16, width=8, frame_latents=8, latents=6)
FRAME = 16 * 16  # samples a vector


@pytest.fixture
def codec():
    torch.manual_seed(0)
    codec = SMALL.build().eval()
    for name, parameter in codec.named_parameters():
        if name.endswith("gain"):
            parameter.data.fill_(0.3)  # so that the noise is heard
    return codec


def test_levels_of_a_full_scale_sine_and_of_silence(codec):
    time = torch.arange(1024)
    sine = torch.sin(2 * torch.pi * 8 / 64 * time)[None, None]  # in the middle of bin 8 of 64 samples
    level = codec.levels(sine)[0, 10:-10] * 75 - 25
    assert level[:, 8].sub(20 * torch.log10(torch.tensor(16.0))).abs().max() < 0.01  # n_fft / 4
    assert torch.allclose(codec.levels(torch.zeros(1, 1, 1024)), torch.tensor(-1.0))  # -100 dB


def test_true_levels_and_phases_give_the_audio_back(codec):
    torch.manual_seed(1)
    audio = 0.1 * torch.randn(1, 1, 2048)
    spectrum = codec.stft(audio[:, 0]).mT
    again = polar(codec.levels(audio), spectrum.angle() / torch.pi)
    # The floor of 1e-7 in the power is all that is lost.
    assert (codec.stft.inverse(again.mT) - audio[:, 0]).abs().max() < 1e-4


@pytest.mark.parametrize("vectors", [4, 12, 40])
def test_chunks_of_whole_blocks_equal_the_whole(codec, vectors):
    latents = torch.randn(2, 6, vectors).tanh()
    with torch.no_grad():
        whole = codec.decode(latents)
        for start in range(0, vectors, 4):
            first, last = max(0, start - 4), min(vectors, start + 8)
            chunk = codec.decode(latents[..., first:last])[..., (start - first) * FRAME :][..., : 4 * FRAME]
            assert (chunk - whole[..., start * FRAME : (start + 4) * FRAME]).abs().max() < 1e-5
        assert (codec.decode(latents[1:]) - whole[1:]).abs().max() < 1e-5  # alone as in a batch
    with_gradient = codec.decode(latents)  # the other path: one batch, one inverse transform
    assert (with_gradient - whole).abs().max() < 1e-5


def test_an_incomplete_block_is_decoded_and_trimmed(codec):
    assert codec.decode(torch.zeros(1, 6, 5)).shape == (1, 1, 5 * FRAME)
    assert codec.encode(torch.zeros(1, 1, 5 * FRAME + 1)).shape == (1, 6, 8)  # padded to whole blocks


def test_a_vector_hears_only_its_own_frames(codec):
    audio = 0.1 * torch.randn(1, 1, 8 * FRAME)
    other = audio.clone()
    other[..., 5 * FRAME :] = 0
    with torch.no_grad():
        same = (codec.encode(audio) - codec.encode(other)).abs().amax((0, 1)) < 1e-6
    assert same[:4].all() and not same[5:].any()


def test_noise_follows_from_the_latents_and_is_normal():
    blocks = torch.randn(300, 4, 6)
    noise = BlockNoise(blocks)
    values = torch.cat([noise(50), noise(14)], 1)
    again = BlockNoise(blocks[100:200])
    assert torch.equal(torch.cat([again(50), again(14)], 1), values[100:200])
    assert values.mean().abs() < 0.03 and (values.std() - 1).abs() < 0.03
    assert (values.abs() < 1.96).float().mean().sub(0.95).abs() < 0.01
    assert torch.corrcoef(values).fill_diagonal_(0).abs().max() < 0.7  # blocks apart
    assert (values[:, 1:] * values[:, :-1]).mean().abs() < 0.03  # frames apart


def test_matrix_products_are_the_convolutions_that_they_stand_for():
    torch.manual_seed(0)
    x = torch.randn(3, 8, 5)
    frames = Frames(5, 7, 3, stride=2, pad=(0, 1))
    kernel = frames.kernel.unflatten(0, (3, 5)).permute(2, 1, 0)
    expected = torch.conv1d(torch.nn.functional.pad(x.mT, (0, 1)), kernel, frames.bias, stride=2).mT
    assert torch.allclose(frames(x), expected, atol=1e-5)
    up = Upsample(5, 7)
    even, odd = up.even.unflatten(0, (2, 5)), up.odd.unflatten(0, (2, 5))
    kernel = torch.stack([odd[1], even[1], odd[0], even[0]], -1)
    expected = torch.conv_transpose1d(x.mT, kernel, up.bias, stride=2, padding=1).mT
    assert torch.allclose(up(x), expected, atol=1e-5)


def test_parameters_in_bfloat16_stay_close(codec):
    latents = torch.randn(1, 6, 16).tanh()
    with torch.no_grad():
        exact = codec.decode(latents)
        for parameter in codec.parameters():
            parameter.data = parameter.data.bfloat16()
        rough = codec.decode(latents)
    assert rough.dtype == torch.float32
    assert (codec.levels(rough) - codec.levels(exact)).abs().mean() < 0.05


def test_per_channel_is_the_mono_codec_on_each_channel(codec):
    stereo = PerChannelConfig(mono=SMALL).build().eval()
    stereo.mono.load_state_dict(codec.state_dict())
    audio = 0.1 * torch.randn(2, 2, 8 * FRAME)
    stereo.fit([audio])
    with torch.no_grad():
        latents = stereo.encode(audio)
        assert latents.shape == (2, 12, 8) and stereo.space.channels == 12
        assert torch.allclose(latents[:, 6:], stereo.mono.encode(audio[:, 1:]), atol=1e-6)
        swapped = torch.cat([latents[:, 6:], latents[:, :6]], 1)
        assert torch.allclose(stereo.decode(swapped), stereo.decode(latents).flip(1), atol=1e-6)
    both = latents.unflatten(1, (2, 6)).transpose(0, 2).flatten(1)
    assert both.mean().abs() < 1e-4 and (both.std() - 1).abs() < 0.05


def test_per_channel_refuses_a_stereo_codec():
    with pytest.raises(UserError, match="needs a mono codec"):
        PerChannelConfig(mono=PerChannelConfig(mono=SMALL)).build()


def test_per_channel_lays_codebooks_side_by_side():
    from orchestrion.codecs.per_channel import beside

    assert beside(Discrete(4, 1024, 50.0), 2) == Discrete(8, 1024, 50.0)


def test_half_precision_keeps_its_weights_and_stays_near():
    """Played under autocast, both levels are bfloat16 copies, made once, and the sound is the float32 one's."""
    torch.manual_seed(0)
    codec = MusikaCodecConfig(width=24, frame_latents=24, latents=24).build().eval()
    z = torch.rand(1, 24, 8) * 2 - 1
    with torch.no_grad():
        exact = codec.decode(z)
        with torch.autocast("cpu", torch.bfloat16):
            played = codec.decode(z)
            copy = codec._half1.module
            codec.decode(z)
    assert copy is codec._half1.module and copy.decoder.level.kernel.dtype == torch.bfloat16
    assert next(codec.parameters()).dtype == torch.float32
    assert 20 * torch.log10((played - exact).norm() / exact.norm()) < -30
