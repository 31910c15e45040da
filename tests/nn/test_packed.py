import pytest
import torch
from torch import nn

from orchestrion.nn.packed import PackedConv2d, pack


@pytest.mark.parametrize("shape", [(8, 16, 3, 1, 1), (16, 8, 1, 1, 0), (8, 8, 3, 2, 1), (8, 8, 3, 2, 0)])
@pytest.mark.parametrize("size", [(5, 7), (16, 40)])
def test_a_packed_convolution_is_the_convolution_for_any_image(shape, size):
    inputs, outputs, kernel, stride, padding = shape
    torch.manual_seed(0)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding).to(torch.bfloat16)
    net = pack(nn.Sequential(conv, nn.ModuleList([])), but=nn.ModuleList)
    if not isinstance(net[0], PackedConv2d):
        pytest.skip("this torch has no such convolutions")
    x = torch.randn(2, inputs, *size, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    with torch.no_grad():
        made, want = net[0](x), conv(x)
    assert torch.allclose(made.float(), want.float(), atol=2e-2) and made.shape == want.shape


def test_only_what_is_plain_is_packed():
    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3).to(torch.bfloat16)

    net = pack(nn.Sequential(Kept(), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding_mode="circular").bfloat16()), Kept)
    assert not any(isinstance(part, PackedConv2d) for part in net.modules())
