import copy

import pytest
import torch

from orchestrion.errors import UserError
from orchestrion.nn.unet1d import UNet1d, UNet1dConfig, Upsample

CONFIG = UNet1dConfig(channels=(8, 16), factors=(2, 4), items=(1, 1), attentions=(0, 1), heads=2, head_width=8,
                      features=32, groups=4)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return UNet1d(CONFIG, 2, 2).eval()


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_up_sampling_at_the_lower_rate_is_repeating_and_convolving(factor):
    up = Upsample(4, 6, factor)
    x = torch.randn(2, 4, 1, 12)
    expected = torch.nn.functional.conv2d(x.repeat_interleave(factor, -1), up.weight, up.bias, padding=(0, 1))
    with torch.no_grad():
        assert torch.allclose(up(x), expected, atol=1e-5)


@torch.no_grad()
def test_bfloat16_is_near_and_follows_the_weights(net):
    x, time = torch.randn(2, 2, 64), torch.tensor([0.2, 0.8])
    exact = net(x, time)
    with torch.autocast("cpu", torch.bfloat16):
        near = net(x, time)
        net.level.up.weight.zero_()
        moved = net(x, time)
    assert near.dtype == torch.bfloat16 and (near - exact).abs().mean() < 0.01 * exact.abs().mean()
    assert (moved - near).abs().mean() > 10 * (moved - net(x, time)).abs().mean()
    assert not any("half" in name for name in copy.deepcopy(net).state_dict())


@torch.no_grad()
def test_masked_tokens_are_not_heard():
    torch.manual_seed(0)
    config = UNet1dConfig(channels=(8,), factors=(2,), items=(1,), cross_attentions=(1,), heads=2, head_width=8,
                          features=16, groups=4)
    net = UNet1d(config, 1, 1, embedding=6)
    x, time, embedding = torch.randn(1, 1, 16), torch.tensor([0.5]), torch.randn(1, 5, 6)
    mask = torch.arange(5)[None] < 3
    assert torch.allclose(net(x, time, embedding, mask), net(x, time, embedding[:, :3]), atol=1e-5)
    assert not torch.allclose(net(x, time, embedding, mask), net(x, time, embedding), atol=1e-3)


def test_the_time_and_every_weight_count(net):
    x = torch.randn(2, 2, 64)
    y = net(x, torch.tensor([0.2, 0.8]))
    assert not torch.allclose(y, net(x, torch.tensor([0.3, 0.9])), atol=1e-3)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_config_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="as many items"):
        UNet1d(UNet1dConfig(channels=(8, 8), factors=(1, 2), items=(1,)), 1, 1)
    with pytest.raises(UserError, match="needs a conditioner"):
        UNet1d(UNet1dConfig(channels=(8,), factors=(1,), items=(1,), cross_attentions=(1,)), 1, 1)
