"""The MDCT: orthonormal, exact, and a tone stays in its bands."""

import math

import pytest
import torch

from orchestrion.audio.mdct import MDCT


@pytest.mark.parametrize("bands", [2, 8, 512])
def test_samples_come_back_and_energy_is_kept(bands):
    torch.manual_seed(0)
    audio = torch.randn(2, 3, 9 * bands)
    mdct = MDCT(bands)
    with torch.autocast("cpu", torch.bfloat16):  # which must not reach it
        coefficients = mdct(audio)
        back = mdct.inverse(coefficients)
    assert coefficients.shape == (2, 3, bands, 9)
    assert (back - audio).abs().max() < 1e-5
    assert coefficients.square().sum().item() == pytest.approx(audio.square().sum().item(), rel=1e-5)


def test_a_tone_is_heard_in_its_own_bands_alone():
    rate, tone = 44_100, 1000.0
    audio = torch.sin(2 * math.pi * tone * torch.arange(512 * 40) / rate)
    power = MDCT(512)(audio)[:, 1:-1].square().mean(1)
    place = tone / (rate / 2 / 512) - 0.5
    near = (torch.arange(512) - place).abs() < 2
    assert power[near].sum() > 0.99 * power.sum()
    assert power[(torch.arange(512) - place).abs() > 40].max() < 1e-5 * power.max()


def test_a_frame_reaches_half_a_frame_beyond_its_own_samples():
    impulse = torch.zeros(32, 10)
    impulse[5, 4] = 1.0
    heard = MDCT(32).inverse(impulse).abs() > 1e-6
    assert heard.nonzero().min() >= 4 * 32 - 16 and heard.nonzero().max() < 5 * 32 + 16


def test_odd_numbers_of_bands_are_refused():
    with pytest.raises(ValueError, match="even number"):
        MDCT(3)
