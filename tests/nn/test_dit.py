import math

import torch

from orchestrion.nn.dit import CrossAttention, DiT, attention, modulated, rotary


def net(vector=0):
    torch.manual_seed(0)
    net = DiT(6, 5, 64, 2, 2, vector).eval()
    for parameter in net.parameters():  # the last layer and the modulation begin at zero
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def decibels(made, wanted):
    return (20 * torch.log10((made - wanted).norm() / wanted.norm())).item()


def test_attention_by_its_definition():
    """softmax(q kᵀ / √width) v on pairs of channels turned, as complex numbers, by position times rate."""
    b, n, heads, width = 2, 7, 3, 8
    qkv = torch.randn(b, n, 3 * heads * width)
    q, k, v = qkv.view(b, n, 3, heads, width).permute(2, 0, 3, 1, 4)
    rates = 10_000 ** -(torch.arange(width // 2) / (width // 2))
    turn = torch.polar(torch.ones(n, width // 2), torch.arange(n)[:, None] * rates)

    def turned(x):
        z = torch.complex(x[..., : width // 2], x[..., width // 2 :]) * turn
        return torch.cat([z.real, z.imag], -1)

    weights = (turned(q) @ turned(k).mT / math.sqrt(width)).softmax(-1)
    wanted = (weights @ v).permute(0, 2, 1, 3).flatten(2)
    assert torch.allclose(attention(qkv, heads, rotary(n, width, qkv.device)), wanted, atol=1e-5)


def test_the_two_ways_of_attention_agree():
    """In bf16 without gradients the scores are written out; with gradients the fused kernel is used."""
    qkv = torch.randn(2, 33, 3 * 64)
    turns = rotary(33, 32, qkv.device)
    exact = attention(qkv, 2, turns)
    with torch.no_grad():
        written_out = attention(qkv.bfloat16(), 2, turns.bfloat16()).float()
    fused = attention(qkv.bfloat16(), 2, turns.bfloat16()).float()
    assert decibels(written_out, exact) < -40 and decibels(fused, exact) < -40


def test_words_are_attended_to_alike_in_both_ways_and_padding_is_not():
    torch.manual_seed(0)
    cross = CrossAttention(64, 2)
    torch.nn.init.normal_(cross.merge.weight, std=0.2)
    x, words = torch.randn(2, 9, 64), torch.randn(2, 6, 64)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])[:, None, None]
    with torch.no_grad():
        exact = cross(x, words, mask)
        half = cross.bfloat16()(x.bfloat16(), words.bfloat16(), mask).float()
        short = cross(x[1:].bfloat16(), words[1:, :2].bfloat16(), None).float()
    assert decibels(half, exact) < -36 and decibels(short, exact[1:]) < -36


def test_positions_are_relative():
    """A rotation of all positions changes no score: the attention of later frames alone is that of frames from 0."""
    qkv = torch.randn(1, 5, 3 * 16)
    turns = rotary(45, 16, qkv.device)
    assert torch.allclose(attention(qkv, 1, turns[..., 40:, :]), attention(qkv, 1, turns[..., :5, :]), atol=1e-5)


def test_modulation_is_the_same_for_one_clip_as_for_several():
    x, shift, scale = torch.randn(3, 9, 16), torch.randn(1, 1, 16), torch.randn(1, 1, 16)
    wanted = torch.nn.functional.layer_norm(x, (16,), eps=1e-6) * (1 + scale) + shift
    assert torch.allclose(modulated(x, shift, scale), wanted, atol=1e-5)
    assert torch.allclose(modulated(x, shift.expand(3, 1, 16), scale.expand(3, 1, 16)), wanted, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(modulated(x, shift.expand(3, 1, 16), scale.expand(3, 1, 16)), wanted, atol=1e-5)


def test_one_time_for_all_clips_or_the_same_for_each():
    dit, x = net(), torch.randn(3, 20, 6)
    once = dit(x, torch.tensor([0.3]))
    assert torch.allclose(once, dit(x, torch.full((3,), 0.3)), atol=1e-5)
    assert not torch.allclose(once, dit(x, torch.tensor([0.4])), atol=1e-3)
    assert torch.allclose(once[1:2], dit(x[1:2], torch.tensor([0.3])), atol=1e-5)


def test_half_precision_stays_near():
    dit, x = net(vector=4), torch.randn(2, 40, 6)
    vector = torch.randn(2, 4)
    with torch.no_grad():
        exact = dit(x, torch.tensor([0.3]), vector)
        with torch.autocast("cpu", torch.bfloat16):
            half = dit(x, torch.tensor([0.3]), vector).float()
    assert decibels(half, exact) < -36


def test_half_precision_casts_no_weight_twice_and_follows_new_weights():
    """The bf16 copy of the blocks gives what autocast itself would, and is made anew when the weights change."""
    dit, x = net(), torch.randn(1, 30, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        first = dit(x, torch.tensor([0.3]))
        copy = dit._half.module
        assert copy is not None and copy[0].attend.weight.dtype == torch.bfloat16
        assert copy[0].offset.dtype == torch.float32  # the residual stream and its modulation stay exact
        dit(x, torch.tensor([0.6]))
        assert dit._half.module is copy
        dit.blocks[0].attend.weight.mul_(1.5)
        assert not torch.equal(dit(x, torch.tensor([0.3])), first)
    with torch.autocast("cpu", torch.bfloat16):  # with gradients: autocast's own casts
        trained = dit(x, torch.tensor([0.3])).detach().float()
        with torch.no_grad():
            played = dit(x, torch.tensor([0.3])).float()
    assert decibels(played, trained) < -40
    assert "_half" not in "".join(dit.state_dict())
