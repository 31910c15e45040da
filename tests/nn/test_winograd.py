"""Winograd's convolution against the direct one."""

import pytest
import torch
from torch import nn

from orchestrion.nn import winograd


def conv(inputs, outputs, dtype=torch.float32, **settings):
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings).to(dtype).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (7, 4)])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_the_same_as_the_direct_convolution(size, bias):
    direct = conv(5, 3, bias=bias)
    x = torch.randn(2, 5, *size).contiguous(memory_format=torch.channels_last)
    made = winograd.Winograd(direct)(x)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(made, direct(x), atol=1e-5)


@torch.no_grad()
def test_in_bfloat16_it_errs_by_less_than_40_db():
    direct = conv(256, 256, torch.bfloat16)
    x = torch.randn(1, 256, 8, 8).bfloat16().contiguous(memory_format=torch.channels_last)
    want = direct.float()(x.float())
    made = winograd.Winograd(direct.bfloat16())(x).float()
    assert (made - want).norm() < 0.01 * (want - direct.bias.float()[:, None, None]).norm()


def test_only_what_gains_is_exchanged(monkeypatch):
    monkeypatch.setattr(winograd, "has_fast_bfloat16", lambda: True)
    monkeypatch.setattr(winograd, "cpu_flags", lambda: frozenset({"avx512_bf16"}))

    def net(dtype=torch.bfloat16):
        left_alone = nn.Sequential(conv(256, 128, dtype), conv(256, 256, dtype, stride=2))
        return nn.Sequential(conv(256, 256, dtype), left_alone)

    made = winograd.quicker(net())
    assert isinstance(made[0], winograd.Winograd) and type(made[1][0]) is type(made[1][1]) is nn.Conv2d
    assert type(winograd.quicker(net(torch.float32))[0]) is nn.Conv2d
    monkeypatch.setattr(winograd, "cpu_flags", lambda: frozenset({"amx_bf16"}))
    assert type(winograd.quicker(net())[0]) is nn.Conv2d
