"""In blocks of any size a network gives what it gives for the whole, and a causal one doesn't look ahead."""

import pytest
import torch
from torch.nn.functional import conv_transpose1d, pad

from orchestrion.nn.streaming import Chain, Conv, Leaky, Residual, Snake, Upsample, pads


def network(causal):
    torch.manual_seed(0)
    return Chain(Conv(3, 4, 7, causal), Snake(4), Residual(Chain(Leaky(), Conv(4, 4, 3, causal, dilation=9))),
                 Conv(4, 8, 8, causal, stride=4), Conv(8, 8, 3, causal, stride=4, groups=2),
                 Upsample(8, 6, 4), Residual(Conv(6, 6, 3, causal)), Upsample(6, 2, 4)).eval()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", [[1] * 160, [5, 3, 100, 1, 51], [160], [0, 80, 0, 80]])
def test_blocks_equal_the_whole(causal, sizes):
    net, x = network(causal), torch.randn(2, 3, 1, 160)
    made, past = [], []
    with torch.no_grad():
        for i, block in enumerate(x.split(sizes, -1)):
            new = []
            made.append(net.stream(block, past, new, i == len(sizes) - 1))
            past = new
        assert torch.allclose(torch.cat(made, -1), net(x), atol=1e-5)


def test_a_causal_network_hears_only_what_was():
    """But for its transposed convolutions, which hear half a step ahead: here 2 + 2/4 of 16 samples' steps."""
    net, x = network(causal=True), torch.randn(1, 3, 1, 160)
    other = x.clone()
    other[..., 96:] = 0
    with torch.no_grad():
        changed = (net(x) != net(other)).any(1)[0, 0].nonzero().min()
    assert 96 - 16 < changed <= 96


@pytest.mark.parametrize("taps, dilation", [(1, 1), (3, 1), (3, 9), (7, 1), (8, 1), (513, 1)])
def test_padding_keeps_the_length(taps, dilation):
    for causal in (False, True):
        left, right = pads(taps, dilation, causal)
        assert left + right == (taps - 1) * dilation and (right == 0 if causal else right - left in (0, 1))


def test_upsampling_is_a_transposed_convolution():
    torch.manual_seed(0)
    layer, x = Upsample(3, 5, 4), torch.randn(2, 3, 1, 9)
    with torch.no_grad():
        expected = conv_transpose1d(x[:, :, 0], layer.weight(), stride=4, padding=2)
        assert torch.allclose(layer(x)[:, :, 0], expected, atol=1e-5)


def test_folded_and_kept_kernels_follow_the_parameters():
    torch.manual_seed(0)
    layer, x = Conv(3, 4, 3, causal=True), torch.randn(1, 3, 1, 20)
    with torch.no_grad():
        first = layer(x)
        layer.weight.gain.mul_(2)
        assert torch.allclose(layer(x), 2 * first, atol=1e-6)
        layer.weight.fold()
        assert torch.allclose(layer(x), 2 * first, atol=1e-6)
        assert len(list(layer.parameters())) == 1
    row = torch.nn.functional.conv1d(pad(x[:, :, 0], (2, 0)), layer.weight.direction)
    assert torch.allclose(row, 2 * first[:, :, 0], atol=1e-5)


def test_blocks_can_be_compiled():
    net, x = network(causal=True), torch.randn(1, 3, 1, 64)
    for layer in net.modules():
        if hasattr(layer, "fold"):
            layer.fold()
    scripted = torch.jit.script(Streamer(net))
    with torch.no_grad():
        first, state = scripted(x[..., :32], [], False)
        second, _ = scripted(x[..., 32:], state, True)
        assert torch.allclose(torch.cat([first, second], -1), net(x), atol=1e-5)


class Streamer(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor, past: list[torch.Tensor], final: bool) -> tuple[torch.Tensor,
                                                                                        list[torch.Tensor]]:
        new: list[torch.Tensor] = []
        y = self.net.stream(x, past, new, final)
        return y, new
