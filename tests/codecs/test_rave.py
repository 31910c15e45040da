"""RAVE's variants keep the codec's contract, stream, and are what the reference says of them."""

import dataclasses

import pytest
import torch

from orchestrion.codecs.rave import (
    QuantisedConfig,
    RaveConfig,
    RaveNoiseConfig,
    RaveV1Config,
    RaveV2Config,
    WassersteinConfig,
)
from orchestrion.contracts import Continuous, Discrete
from orchestrion.errors import UserError
from orchestrion.systems.rave import CODECS

FEW = ((1, 3), (1,))
NET = RaveV2Config(capacity=4, ratios=(4, 4), dilations=FEW)
VARIANTS = {
    "v1": RaveConfig(latents=8, net=RaveV1Config(capacity=4)),
    "v2": RaveConfig(latents=8, net=NET),
    "v2 noise": RaveConfig(latents=8, net=dataclasses.replace(NET, noise=RaveNoiseConfig(hidden=8))),
    "discrete": RaveConfig(latents=8, net=NET, bottleneck=QuantisedConfig(codebooks=3, size=16, noise=4)),
    "wasserstein": RaveConfig(latents=8, net=NET, bottleneck=WassersteinConfig(noise=4)),
    "v3": RaveConfig(latents=8, net=dataclasses.replace(NET, snake=True, snake_units=True, adain=True)),
}


def build(config, **changes):
    """A codec whose weights are so large that its output can be heard."""
    torch.manual_seed(0)
    codec = dataclasses.replace(config, **changes).build().eval()
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.endswith(("gain", "direction")):
                parameter.mul_(1.5 if config.net == VARIANTS["v3"].net else 2.5)
    if hasattr(codec.decoder, "awake"):
        codec.decoder.awake.fill_(1)
    return codec


def stream(step, x, size):
    made, state, pieces = [], None, x.split(size, -1)
    for i, piece in enumerate(pieces):
        y, state = step(piece, state, i == len(pieces) - 1)
        made.append(y)
    return torch.cat(made, -1)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("causal, channels", [(True, 1), (False, 2)])
def test_blocks_equal_the_whole(name, causal, channels):
    codec = build(VARIANTS[name], causal=causal, channels=channels)
    audio = 0.3 * torch.randn(1, channels, 12 * codec.frame)
    with torch.no_grad():
        latents = codec.encode(audio)
        whole = codec.decode(latents)
        assert whole.std() > 1e-3
        close = 1e-5 * max(1.0, whole.abs().max().item())
        for block in (512, 700, 8192):
            streamed = stream(codec.encode_stream, audio, block)
            assert torch.allclose(streamed.float(), latents.float(), atol=1e-5)
        for block in (1, 5):
            assert torch.allclose(stream(codec.decode_stream, latents, block), whole, atol=close)


@pytest.mark.parametrize("name", VARIANTS)
def test_latents_have_their_space(name):
    codec = build(VARIANTS[name])
    with torch.no_grad():
        latents = codec.encode(torch.randn(2, 1, 3 * codec.frame - 5))
    if name == "discrete":
        assert codec.space == Discrete(3, 16, codec.sample_rate / codec.frame)
        assert latents.dtype == torch.long and latents.shape == (2, 3, 3) and 0 <= latents.min() <= latents.max() < 16
    else:
        assert codec.space == Continuous(8, codec.sample_rate / codec.frame) and latents.shape == (2, 8, 3)


def test_published_sizes_have_their_compression_and_size():
    frames = {name: 16 * torch.tensor(config.net.ratios).prod().item() for name, config in CODECS.items()}
    assert frames["v1"] == frames["v2"] == frames["wasserstein"] == 2048
    assert frames["v2_small"] == 512 and frames["discrete"] == 1024
    assert CODECS["v1"].net.capacity == 64 and CODECS["v2"].net.capacity == 96


@pytest.mark.slow
def test_v1_is_as_large_as_the_paper_says():
    count = sum(p.numel() for p in CODECS["v1"].build().parameters())
    assert count == pytest.approx(17.6e6, rel=0.02)  # the paper's figure


def test_the_first_components_carry_most():
    codec = build(VARIANTS["v2"])
    mixing = torch.randn(8, 2)
    batches = [torch.einsum("dk,bkn->bdn", mixing, torch.randn(2, 2, 50)) + 0.01 * torch.randn(2, 8, 50)]
    codec._means = lambda audio: audio
    codec.fit(batches)
    assert codec.keep(0.95) <= 2 and codec.space.channels == codec.rank
    codec.rank = 8
    there = codec.principal.enter(batches[0], 8)
    flat = there.transpose(0, 1).flatten(1)
    assert torch.allclose(flat @ flat.T / flat.shape[1], torch.eye(8), atol=2e-2)
    back = codec.principal.leave(there[:, :2], torch.zeros(2, 6, 50))
    assert (back - batches[0]).norm() < 0.02 * batches[0].norm()


def test_half_precision_leaves_the_rotation_alone():
    """Latents near a large mean: their rotation cancels almost all of it."""
    codec = build(VARIANTS["v2"])
    codec.principal.fit([100 + torch.randn(1, 8, 400)])
    latents = torch.randn(1, 8, 5)
    with torch.autocast("cpu", torch.bfloat16):
        again = codec.principal.enter(codec.principal.leave(latents, torch.zeros(1, 0, 5)), 8)
    assert torch.allclose(again, latents, atol=1e-3)


def test_a_fitted_codec_settles_its_rank():
    codec = build(VARIANTS["v2"])
    assert codec.settle(codec.config) == codec.config  # nothing known yet
    with pytest.raises(UserError, match="not analysed"):
        codec.keep(0.9)
    codec.fit([torch.randn(2, 1, 20 * codec.frame)])
    settled = codec.settle(codec.config)
    assert settled.rank == codec.principal.rank(0.95)
    other = settled.build()
    other.load_state_dict(codec.state_dict())  # the same weights, whatever the rank
    assert other.space.channels == settled.rank


def test_fewer_components_than_the_rank_can_be_decoded():
    codec = build(VARIANTS["v2"])
    with torch.no_grad():
        latents = codec.encode(torch.randn(1, 1, 6 * codec.frame))
        fewer = codec.decode(latents[:, :3])
        assert fewer.shape == (1, 1, 6 * codec.frame) and torch.equal(fewer, codec.decode(latents[:, :3]))


def test_v1_adds_noise_only_when_awake():
    codec = build(VARIANTS["v1"])
    latents = torch.randn(1, 8, 4)
    with torch.no_grad():
        awake = codec.decode(latents)
        codec.decoder.awake.fill_(0)
        asleep = codec.decode(latents)
    assert not torch.allclose(awake, asleep)


def test_v3_takes_the_style_of_what_it_hears():
    codec = build(VARIANTS["v3"])
    source, target = 0.2 * torch.randn(1, 1, 8 * codec.frame), torch.randn(1, 1, 8 * codec.frame).cumsum(-1) / 50
    with torch.no_grad():
        plain = codec.decode(codec.encode(source))
        codec.listen(target, target=True)
        assert torch.equal(codec.decode(codec.encode(source)), plain)  # the source is unknown yet
        codec.listen(source, target=False)
        assert not torch.allclose(codec.decode(codec.encode(source)), plain)
        layer = next(m for m in codec.encoder.modules() if hasattr(m, "hears"))
        seen = []
        layer.stream, told = lambda x, *a: seen.append(type(layer).stream(layer, x, *a)) or seen[-1], layer.target
        codec.encode(source)
    made = seen[0].transpose(0, 1).flatten(1)
    assert torch.allclose(made.mean(1), told[0], atol=1e-4) and torch.allclose(made.std(1), told[1], rtol=1e-2)


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="no AdaIN"):
        build(VARIANTS["v2"]).listen(torch.zeros(1, 1, 4096), target=True)
    with pytest.raises(UserError, match="rank 9"):
        dataclasses.replace(VARIANTS["v2"], rank=9).build()
    with pytest.raises(UserError, match="no fidelity"):
        build(VARIANTS["discrete"]).keep(0.9)
