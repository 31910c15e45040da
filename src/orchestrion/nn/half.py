"""A bfloat16 copy of a module for inference.

Autocast casts every weight at every call in inference mode; a network that is called dozens of times a clip and whose
weights outweigh its input spends a tenth of its time so.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class HalfCopy:
    """Holds the copy; made at first use, and again when the weights have changed."""

    def __init__(self) -> None:
        self.module: Any = None
        self.state: list[tuple[int, int]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "HalfCopy":
        return HalfCopy()

    def of(self, module: M) -> M:
        """The bfloat16 copy of `module`, convolutions channels last in memory."""
        state = [(p.data_ptr(), p._version) for p in module.parameters()]
        if self.module is None or self.state != state:
            self.module, self.state = self._halved(copy.deepcopy(module)), state
        return self.module

    def _halved(self, module: nn.Module) -> nn.Module:
        return module.to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class HalfLayers(HalfCopy):
    """A copy for use under autocast, of which only linear layers and convolutions are bfloat16: the same numbers as
    the module's own under autocast, without its casts."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "HalfLayers":
        return HalfLayers()

    def _halved(self, module: nn.Module) -> nn.Module:
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
                part.to(torch.bfloat16)
        return module


def wanted(x: Tensor) -> bool:
    """Whether autocast asks for bfloat16, and no gradient is."""
    device = x.device.type
    return (not torch.is_grad_enabled() and torch.is_autocast_enabled(device)
            and torch.get_autocast_dtype(device) == torch.bfloat16)
