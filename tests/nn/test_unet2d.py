"""The 2-D U-Net against diffusers' own classes, with random weights carried over."""

import pytest
import torch

from orchestrion.contracts import Conditioning, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.unet2d import UNet2dConfig, Upsample, doubling_kernel

SMALL = UNet2dConfig(channels=(16, 32, 32), attention=(False, True, False), layers=2, groups=8)
SPACE = Continuous(2, 43.0, bands=16)


def theirs(**changes):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        in_channels=2, out_channels=2, block_out_channels=(16, 32, 32), layers_per_block=2, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), **changes).eval()


@pytest.mark.parametrize("padding", [0, 1])
def test_same_weights_give_the_same_output(padding):
    peer = theirs(downsample_padding=padding)
    net = UNet2dConfig(**{**vars(SMALL), "padding": padding}).build(SPACE, None).eval()
    net.load_state_dict(peer.state_dict())
    x, steps = torch.randn(2, 2, 16, 24), torch.tensor([3, 777])
    want = peer(x, steps).sample
    made = net(x, (steps + 1) / 1000, Conditioning())
    assert torch.allclose(made, want, atol=1e-4)
    with torch.no_grad():  # the faster way
        assert torch.allclose(net.prepared()(x, (steps + 1) / 1000, Conditioning()), want, atol=1e-4)


def test_same_weights_give_the_same_output_with_a_prompt():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    peer = diffusers.UNet2DConditionModel(
        in_channels=2, out_channels=2, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=10, attention_head_dim=4).eval()
    net = UNet2dConfig(channels=(16, 32), attention=(True, False), layers=1, groups=8, head_width=4,
                       cross=10).build(SPACE, None).eval()
    net.load_state_dict(peer.state_dict())
    x, steps, sequence = torch.randn(2, 2, 16, 24), torch.tensor([3, 777]), torch.randn(2, 5, 10)
    want = peer(x, steps, sequence).sample
    assert torch.allclose(net(x, (steps + 1) / 1000, Conditioning(sequence=sequence)), want, atol=1e-4)
    nothing = net(x, steps / 1000, Conditioning(sequence=torch.zeros(2, 1, 10)))
    assert torch.equal(net(x, steps / 1000, Conditioning()), nothing) and not torch.allclose(nothing, want)


def test_the_prepared_copy_is_half_and_near():
    torch.manual_seed(0)
    net = SMALL.build(SPACE, None).eval()
    x, time = torch.randn(2, 2, 16, 24), torch.tensor([0.2, 0.9])
    with torch.no_grad():
        want = net(x, time, Conditioning())
        with torch.autocast("cpu", torch.bfloat16):
            half = net.prepared()
            made = half(x, time, Conditioning())
    assert half.conv_in.weight.dtype == torch.bfloat16 and net.conv_in.weight.dtype == torch.float32
    assert (made.float() - want).abs().max() < 0.1 * want.std()


def test_upsampling_and_convolving_at_once_is_the_same():
    doubling = Upsample(3).eval()
    for side in (5, 16):  # as it comes, and where merging pays
        x = torch.randn(2, 3, side, side + 1)
        want = doubling(x)  # with gradients: one after the other
        with torch.no_grad():
            assert torch.allclose(doubling(x), want, atol=1e-5)
            doubling.kernel = doubling_kernel(doubling.conv.weight)
            assert torch.allclose(doubling(x), want, atol=1e-5)
            doubling.kernel = None


def test_gradients_flow_and_shapes_that_do_not_fit_are_refused():
    net = SMALL.build(SPACE, None)
    net(torch.randn(1, 2, 16, 8), torch.tensor([0.5]), Conditioning()).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    with pytest.raises(UserError, match="images"):
        SMALL.build(Continuous(2, 43.0), None)
    with pytest.raises(UserError, match="multiple of 4"):
        SMALL.build(Continuous(2, 43.0, bands=18), None)


def test_patches_are_folded_and_unfolded():
    """With weights that pass the folded image by, each pixel comes back to its own place."""
    net = UNet2dConfig(**{**vars(SMALL), "patch": 2}).build(SPACE, None).eval()
    assert net.multiple_of == 8 and net.conv_in.in_channels == 8
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        net.conv_in.weight[range(8), range(8), 1, 1] = 1.0
        net.conv_norm_out, net.conv_out.weight[range(8), range(8), 1, 1] = torch.nn.Identity(), 1.0
        last = net.up_blocks[-1].resnets[-1].conv_shortcut  # what it is given last: the skip from conv_in
        last.weight[range(16), range(16, 32) if last.in_channels == 32 else range(16), 0, 0] = 1.0
    x = torch.randn(2, 2, 16, 24)
    made = net(x, torch.rand(2), Conditioning())
    assert torch.allclose(made, torch.nn.functional.silu(x), atol=1e-6)
    with pytest.raises(UserError, match="multiple of 8"):
        UNet2dConfig(**{**vars(SMALL), "patch": 2}).build(Continuous(2, 43.0, bands=20), None)
