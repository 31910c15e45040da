"""The audio encoder of conditional audio-diffusion: the published layout, and what its pictures hold."""

import math

import pytest
import torch

from orchestrion.conditioners.audio_encoder import AudioEncoderConfig
from orchestrion.contracts import Prompt
from orchestrion.errors import UserError

SMALL = AudioEncoderConfig(sample_rate=8000, bands=16, columns=16, size=512, hop=128, widths=(4, 8), hidden=16, width=6)


def test_the_layout_is_the_published_one():
    encoder = AudioEncoderConfig().build()
    shapes = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert shapes["conv_blocks.0.sep_conv.depthwise.weight"] == (1, 1, 3, 3)
    assert shapes["conv_blocks.2.sep_conv.pointwise.weight"] == (128, 64, 1, 1)
    assert shapes["conv_blocks.2.batch_norm.running_var"] == (128,)
    assert shapes["dense_block.dense.weight"] == (1024, 41_472) and shapes["embedding.weight"] == (100, 1024)
    assert len(shapes) == 3 * 8 + 7 + 2
    assert encoder.samples == 216 * 512 - 1


def test_a_tone_is_white_in_its_band_and_softer_sounds_look_alike():
    """A slice is scaled to its own loudest moment: 20 dB less is the same picture; 40 dB below is half grey."""
    encoder = SMALL.build().eval()
    time = torch.arange(encoder.samples + 1) / 8000
    tone = torch.sin(2 * math.pi * 1000 * time)
    (image,) = encoder.images(tone)
    assert image.shape == (16, 16) and image.max() == 1
    row = int(encoder.filters[:, round(1000 / 8000 * 512)].argmax())
    assert (image[row, 4:12] > 0.98).all() and torch.equal(encoder.images(0.1 * tone)[0], image)
    later = torch.where(time < time[-1] / 2, tone, 0.01 * tone)
    assert encoder.images(later)[0][row, -4].item() == pytest.approx(0.5, abs=0.02)


def test_the_numbers_are_the_mean_over_slices_and_short_sounds_are_filled_up():
    torch.manual_seed(0)
    encoder = SMALL.build().eval()
    one, other = torch.randn(2, 1, encoder.samples)
    told = encoder([Prompt(audio=one), Prompt(), Prompt(audio=torch.cat([one, other], -1)), Prompt(audio=other)])
    first, null, both, second = told.sequence
    assert told.sequence.shape == (4, 1, 6) and (null == 0).all()
    assert torch.allclose(both, (first + second) / 2, atol=1e-5) and not torch.allclose(first, second)
    assert torch.isfinite(encoder([Prompt(audio=torch.randn(1, 100))]).sequence).all()
    assert torch.isfinite(encoder.train()([Prompt(audio=one)]).sequence).all()


def test_what_does_not_halve_is_refused():
    with pytest.raises(UserError, match="multiples of 4"):
        AudioEncoderConfig(bands=18, columns=16, widths=(4, 8)).build()
