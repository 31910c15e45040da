import pytest
import torch

from orchestrion.playing.chunks import decode_chunks, encode_chunks, exact_windows
from toys import ToyCodecConfig


def whole_and_chunked(windowed, count, seconds, batch=3):
    codec = ToyCodecConfig(windowed=windowed).build().eval()
    latents = torch.randn(1, codec.space.channels, count, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        chunks = list(decode_chunks(codec, latents, codec.decode, seconds, batch))
        return codec.decode(latents)[0], torch.cat(chunks, dim=-1), len(chunks)


@pytest.mark.parametrize("count", [1, 12, 13, 14, 24, 25, 100, 101, 127])
def test_exact_chunks_equal_the_whole(count):
    whole, chunked, _ = whole_and_chunked(windowed=False, count=count, seconds=0.125)  # 10 frames
    assert chunked.shape == whole.shape
    assert torch.allclose(chunked, whole, atol=1e-5)


def test_context_is_what_makes_chunks_equal():
    """The toy's decoder hears its neighbours: with the context dropped, joints must differ."""
    codec = ToyCodecConfig().build().eval()
    latents = torch.randn(1, 8, 40)
    with torch.no_grad():
        bare = torch.cat([codec.decode(part) for part in latents.split(10, dim=-1)], dim=-1)
        difference = (bare - codec.decode(latents))[0].abs().amax(0)
    assert difference[9 * 100 : 11 * 100].max() > 1e-2
    assert difference[2 * 100 : 8 * 100].max() < 1e-5


def test_windows_tile_the_clip_and_have_their_context():
    size, windows = exact_windows(count=101, core=10, margin=3)
    kept = [frame for w in windows for frame in range(w.start + w.keep, w.start + w.keep_end)]
    assert kept == list(range(101))
    for w in windows:
        assert w.start >= 0 and w.start + size <= 101
        assert w.keep >= 3 or w.start == 0
        assert size - w.keep_end >= 3 or w.start + size == 101


@pytest.mark.parametrize("count", [19, 30, 57, 100])
def test_windowed_chunks_are_cross_faded_to_the_same_sound_inside(count):
    """Away from the windows' ends the toy's decoder gives the same, and the fade's gains add up to one:
    so only the frames at a window's own ends may differ, and they are faded out there."""
    whole, chunked, number = whole_and_chunked(windowed=True, count=count, seconds=0.125)
    assert chunked.shape == whole.shape
    assert number > 1
    assert (chunked - whole).abs().max() < 0.1 * whole.abs().max()
    assert (chunked - whole).abs().median() < 1e-6


def test_memory_is_bounded_by_the_batch_of_windows():
    codec = ToyCodecConfig().build().eval()
    sizes = []

    def decode(chunk):
        sizes.append(chunk.shape[0] * chunk.shape[-1])
        return codec.decode(chunk)

    with torch.no_grad():
        for _ in decode_chunks(codec, torch.randn(1, 8, 5000), decode, seconds=0.5, batch=4):
            pass
    assert max(sizes) <= 4 * (40 + 2)


def test_encoding_in_blocks_equals_encoding_whole():
    codec = ToyCodecConfig().build().eval()
    audio = torch.randn(2, 8000 * 7 + 33)
    with torch.no_grad():
        assert torch.allclose(encode_chunks(codec, audio, seconds=1.0), codec.encode(audio[None]), atol=1e-5)
