"""Long audio out of codecs that decode by diffusion: one noise, its windows denoised side by side."""

import torch

from orchestrion.codecs.diffused import LONGEST, DecodeOptions, DiffusedCodec
from orchestrion.contracts import Continuous, Windowed
from orchestrion.playing.chunks import decode_chunks, encode_chunks

RATE, FRAME = 800, 8


class Toy(DiffusedCodec):
    """Its data are white noise of unit power beside a constant that the latents tell: then v is known exactly."""

    def __init__(self):
        super().__init__(Continuous(1, RATE / FRAME), RATE, 1, FRAME, overlap=100, level=1.0)
        self.seen = 0

    def analyse(self, audio):
        return audio.unflatten(-1, (-1, FRAME)).mean(-1)

    def output(self, x, time, latents):
        self.seen = max(self.seen, x.shape[-1])
        constant = latents.repeat_interleave(FRAME, -1)
        _, sigma = self.path.scales(time[:, None, None])
        return -sigma * constant  # data = constant + α(x - α·constant), noise = σ(x - α·constant)


def test_a_long_clip_is_as_loud_at_its_joints_as_elsewhere():
    """Two windows from noises of their own, cross-faded, would be 3 dB softer in the middle of each joint."""
    codec, seconds, options = Toy().eval(), 60, DecodeOptions(steps=4)
    latents = torch.zeros(1, 1, seconds * RATE // FRAME)
    made = codec.decode(latents, rng=torch.Generator().manual_seed(0), options=options)
    assert codec.seen <= 12 * RATE
    noise = torch.randn(seconds * RATE, 1, generator=torch.Generator().manual_seed(0))
    wanted = torch.cos(torch.tensor(torch.pi / 8)) ** 4 * noise.mT[None]  # four steps of DDIM where v is 0
    assert torch.allclose(made, wanted, atol=1e-5)


def test_windows_agree_with_the_whole_where_the_network_hears_only_what_is_near():
    torch.manual_seed(0)
    codec = Toy().eval()
    latents, noise = torch.randn(2, 1, 3000), torch.randn(2, 1, 3000 * FRAME)
    level = codec.path.level(0.6)
    joined = codec.predict(latents, window=2.0)(noise, level)
    whole = codec.predict(latents, window=1000.0)(noise, level)
    assert torch.allclose(joined.data, whole.data, atol=1e-5) and torch.allclose(joined.noise, whole.noise, atol=1e-5)


def test_it_is_decoded_and_encoded_whole_and_a_longer_clip_begins_alike():
    codec = Toy().eval()
    assert codec.chunking == Windowed(100, LONGEST)
    latents = torch.randn(1, 1, 12_000)
    blocks = list(decode_chunks(codec, latents, lambda z: codec.decode(z, options=DecodeOptions(steps=1))))
    assert len(blocks) == 1 and blocks[0].shape[-1] == 12_000 * FRAME
    assert encode_chunks(codec, blocks[0]).shape == latents.shape
    shorter = codec.decode(latents[..., :500], rng=torch.Generator().manual_seed(1), options=DecodeOptions(steps=2))
    longer = codec.decode(latents[..., :1000], rng=torch.Generator().manual_seed(1), options=DecodeOptions(steps=2))
    assert torch.allclose(shorter, longer[..., : 500 * FRAME], atol=1e-5)
