"""Convolutions with their weights kept in the order in which oneDNN multiplies them, for inference on a CPU.

Otherwise every call puts them in order again, which where the image is small takes as long as a fifth of the product.
"""

import torch
from torch import Tensor, nn

_OPS = torch.ops.mkldnn


class PackedConv2d(nn.Module):
    """A convolution that is called again and again. x `[b in h w]` -> `[b out h' w']`, channels last."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.geometry = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        # what padding, stride and the rest are tells oneDNN which order is best; so does the image's size, which isn't
        # known yet: it puts the weights in order once more should they not suit
        self.packed = _OPS._reorder_convolution_weight(conv.weight.detach(), *self.geometry, None)
        self.bias = conv.bias.detach() if conv.bias is not None else None

    def forward(self, x: Tensor) -> Tensor:
        return _OPS._convolution_pointwise(x, self.packed, self.bias, *self.geometry, "none", [], "")


def pack(module: nn.Module, but: type[nn.Module]) -> nn.Module:
    """Packs, in place, all plain convolutions of a module in bfloat16 on a CPU, but for those in parts of the class
    `but`; leaves it alone where torch or the machine can't."""
    if not hasattr(_OPS, "_reorder_convolution_weight") or not torch.backends.mkldnn.is_available():
        return module
    for name, part in list(module.named_children()):
        if not isinstance(part, nn.Conv2d):
            if not isinstance(part, but):
                pack(part, but)
        elif part.weight.dtype == torch.bfloat16 and part.weight.device.type == "cpu" and part.padding_mode == "zeros":
            setattr(module, name, PackedConv2d(part))
    return module
