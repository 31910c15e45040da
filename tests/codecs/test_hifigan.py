"""Mel images through a vocoder: the image's own latents, bounded memory, and what does not fit."""

import math

import pytest
import torch

from orchestrion.codecs import hifigan
from orchestrion.codecs.hifigan import HifiGanConfig
from orchestrion.codecs.log_mel import LogMelConfig
from orchestrion.codecs.mel import MelImageConfig
from orchestrion.codecs.mel_vae import MelVaeConfig
from orchestrion.errors import UserError
from orchestrion.nn.hifigan import HifiGanNetConfig
from orchestrion.nn.vae2d import Vae2dConfig

IMAGE = MelImageConfig(sample_rate=8000, bands=32, size=512, hop=128)
NET = HifiGanNetConfig(channels=16, rates=(8, 16), kernels=(16, 32), blocks=(3,), dilations=((1, 3),))


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return HifiGanConfig(image=IMAGE, net=NET).build().eval()


def test_its_latents_are_the_image_s_so_that_generators_fit_both(codec):
    audio, plain = 0.3 * torch.randn(1, 1, 4000), IMAGE.build()
    assert torch.equal(codec.encode(audio), plain.encode(audio)) and codec.space == plain.space
    assert torch.equal(codec.centres(), plain.centres())


def test_a_long_clip_is_made_in_parts_that_are_the_whole(codec, monkeypatch):
    latents = torch.randn(1, 1, 32, 100)
    with torch.no_grad():
        whole = codec.decode(latents)
        monkeypatch.setattr(hifigan, "ONCE", 20)
        assert torch.allclose(codec.decode(latents), whole, atol=1e-6)


def test_a_vocoder_stands_in_an_autoencoder_too():
    codec = MelVaeConfig(image=HifiGanConfig(image=IMAGE, net=NET), vae=Vae2dConfig(
        channels=(8, 16), layers=1, groups=4)).build().eval()
    with torch.no_grad():
        assert codec.decode(codec.encode(torch.randn(1, 1, 2560))).shape == (1, 1, 2560)
    assert codec.vocoder is codec.image and len(codec.centres()) == 16
    assert MelVaeConfig(image=IMAGE, vae=Vae2dConfig(channels=(8, 16), groups=4)).build().vocoder is None


def test_rates_that_are_not_the_hop_are_refused():
    with pytest.raises(UserError, match="multiply to that"):
        HifiGanConfig(image=IMAGE).build()


def test_a_log_mel_is_the_logarithm_of_what_each_band_hears():
    """Ten times the amplitude is ln 10 more, at any level that is no silence; a peak of its own forgets the level."""
    config = LogMelConfig()
    codec, time = config.build(), torch.arange(16_000) / 16_000
    sine = torch.sin(2 * math.pi * 1000 * time)[None, None]
    loud, quiet = codec.analyse(sine), codec.analyse(0.1 * sine)
    band = loud[..., 50].argmax(2)
    assert codec.centres()[band].item() == pytest.approx(1000, abs=60)
    assert (loud - quiet)[0, 0, band, 20:80].mean().item() == pytest.approx(math.log(10), abs=1e-2)
    assert codec.analyse(0 * sine).max().item() == pytest.approx(math.log(1e-5), abs=1e-3)
    own = LogMelConfig(peak=0.5).build()
    assert (own.analyse(sine) - own.analyse(0.1 * sine)).abs().mean() < 2e-3
