"""HiFi-GAN's generator against transformers' own class, with random weights carried over, and what a sample hears."""

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.nn.hifigan import HifiGanNetConfig

SMALL = HifiGanNetConfig(channels=32, rates=(5, 4, 2), kernels=(16, 8, 4), standardised=True)


def test_same_weights_give_the_same_sound():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    peer = transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(
        model_in_dim=12, upsample_initial_channel=32, upsample_rates=[5, 4, 2], upsample_kernel_sizes=[16, 8, 4],
        normalize_before=True, initializer_range=0.1)).eval()
    peer.mean.normal_(), peer.scale.uniform_(0.5, 2)
    net = SMALL.build(12).eval()
    net.load_state_dict(peer.state_dict())
    image = torch.randn(2, 12, 20)
    with torch.no_grad():
        want, made = peer(image.mT), net(image)
    assert made.shape == (2, 1, 800) and want.std() > 0.01
    assert torch.allclose(made[:, 0], want[:, :800], atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, HifiGanNetConfig(channels=16, rates=(4, 4), kernels=(8, 8), blocks=(3, 5),
                                                            dilations=((1, 2), (2, 6)), pairs=False)])
def test_a_sample_hears_no_farther_than_the_context(config):
    torch.manual_seed(0)
    net = config.build(3).eval()
    frames = 2 * config.context + 3
    image = torch.randn(1, 3, frames, requires_grad=True)
    middle = frames // 2
    net(image)[0, 0, middle * config.hop : (middle + 1) * config.hop].abs().sum().backward()
    heard = image.grad.abs().sum((0, 1)) > 0
    first, last = middle - config.context, middle + config.context
    assert heard[middle] and not heard[:first].any() and not heard[last + 1 :].any()
    assert heard.sum() > 1.2 * config.context  # nor is it much too long


def test_figures_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="one kernel for each rate"):
        HifiGanNetConfig(rates=(8, 8))
    with pytest.raises(UserError, match="halves its channels"):
        HifiGanNetConfig(channels=100, rates=(2, 2, 2), kernels=(4, 4, 4))
