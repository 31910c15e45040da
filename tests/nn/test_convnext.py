import torch

from orchestrion.nn.convnext import ConvNeXtBlock


def test_the_convolution_is_conv1d_whatever_its_layout():
    """Of one clip and of several, dilated and not."""
    torch.manual_seed(0)
    for clips, dilation in ((1, 1), (3, 2)):
        block = ConvNeXtBlock(12, 24, kernel=5, dilation=dilation)
        x = torch.randn(clips, 17, 12)
        wanted = block.depthwise(x.transpose(1, 2)).transpose(1, 2)
        assert torch.allclose(block._convolve(x), wanted, atol=1e-6)


def test_it_sees_as_far_as_it_says_and_no_farther():
    torch.manual_seed(0)
    block = ConvNeXtBlock(8, 16, kernel=7, dilation=2)
    x = torch.randn(1, 41, 8)
    changed = x.clone()
    changed[:, 20] += 1
    seen = (block(changed) - block(x)).abs().amax((0, 2)).nonzero().flatten()
    assert seen.min() == 20 - block.reach and seen.max() == 20 + block.reach == 26
