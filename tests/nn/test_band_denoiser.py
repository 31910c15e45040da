"""A denoiser that masks: what it can tell from the beginning, and what it is told."""

import pytest
import torch

from orchestrion.contracts import Conditioning, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.band_denoiser import BandDenoiserConfig, loudness

SPACE = Continuous(64, 100.0)
SMALL = BandDenoiserConfig(width=32, depth=1, heads=2)


def test_loudness_knows_no_phase():
    """A steady tone through an MDCT: its coefficients change sign and size from frame to frame, its loudness hardly."""
    from orchestrion.audio.mdct import MDCT

    tone = torch.sin(0.37 * torch.arange(64 * 40))
    bands = MDCT(64)(tone).mT[2:-2]  # [n d]
    loudest = bands.square().mean(0).argmax()
    powers = loudness(bands)[:, loudest].exp()
    assert bands[:, loudest].square().min() < 0.05 * bands[:, loudest].square().max()
    assert powers.min() > 0.3 * powers.max()


def test_a_share_of_each_band_is_a_matter_of_its_last_layer_alone():
    """Wiener's estimate for bands of known powers, without a single step of training."""
    net = SMALL.build(SPACE, None)
    share = torch.linspace(0, 1, 64)
    with torch.no_grad():
        net.net.leave.bias[:64] = share
        x = torch.randn(2, 64, 10)
        made = net(x, torch.tensor([0.3]), Conditioning())
    assert torch.allclose(made, share[:, None] * x, atol=1e-6)


def test_images_are_refused_and_gradients_reach_every_weight():
    with pytest.raises(UserError, match="bands of a waveform"):
        SMALL.build(Continuous(1, 43.0, 128), None)
    with pytest.raises(UserError, match="twice its heads"):
        BandDenoiserConfig(width=30, heads=4)
    net = SMALL.build(SPACE, None)
    torch.nn.init.normal_(net.net.leave.weight, std=0.1)
    net(torch.randn(2, 64, 10), torch.tensor([0.1, 0.9]), Conditioning()).square().mean().backward()
    assert all(weight.grad is not None for weight in net.parameters())
