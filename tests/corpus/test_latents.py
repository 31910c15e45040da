"""The latent cache: what chunks give equals what the whole gives; a crop is a function of seed and step."""

import json

import numpy as np
import pytest
import soundfile as sf
import torch
from scores import tone
from torch import nn

from orchestrion.codecs.spectral import SpectralCodecConfig
from orchestrion.contracts import Codec, Continuous, Discrete, Exact
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.corpus.datasets import AudioCrops, LatentCrops
from orchestrion.corpus.latents import cached_latents, encode_whole, weights_digest
from orchestrion.errors import UserError
from toys import ToyCodecConfig

RATE, FRAME = 1000, 10


class Wide(Codec):
    """Each latent sees `reach` frames on either side; `unit` frames to a multiple."""

    def __init__(self, reach=7, unit=1):
        super().__init__(Continuous(3, RATE / FRAME), RATE, 1, FRAME * unit, Exact(reach))
        torch.manual_seed(0)
        self.net = nn.Conv1d(FRAME, 3, 2 * reach + 1, padding=reach)
        self.calls = []

    def analyse(self, audio):
        assert not self.training
        self.calls.append(tuple(audio.shape))
        return self.net(audio.unflatten(-1, (-1, FRAME)).squeeze(1).transpose(1, 2))


class Tokens(Codec):
    def __init__(self, size=1000):
        super().__init__(Discrete(1, size, RATE / FRAME), RATE, 1, FRAME, Exact(0))

    def analyse(self, audio):
        return ((audio[..., ::FRAME] + 1) * (self.space.size - 1) / 2).round().long()


def corpus_of(folder, seconds):
    """Pieces whose samples count up, so that every frame tells where it is from."""
    pieces, value = [], 0
    (folder / "audio").mkdir(parents=True)
    for i, length in enumerate(seconds):
        count = round(length * RATE)
        audio = ((np.arange(count) // FRAME + value) / 1000 - 0.9).astype(np.float32)
        value += -(-count // FRAME)
        sf.write(folder / f"audio/{i}.flac", audio, RATE, subtype="PCM_24")
        told = {"caption": f"piece {i}"}
        pieces.append(Piece(f"audio/{i}.flac", count / RATE, "train", f"piece {i}", {"tempo": 60.0 + i}, facts=told))
    return Corpus(folder, "counting", RATE, 1, "MIT", tuple(pieces))


@pytest.mark.parametrize("unit", [1, 4])
@pytest.mark.parametrize("seconds", [0.005, 0.3, 1.0, 3.21])
def test_chunks_give_what_the_whole_gives(unit, seconds):
    codec = Wide(unit=unit).train()
    audio = tone(seconds, RATE, 30).T
    pieced = encode_whole(codec, audio, chunk=0.5, batch=3)
    codec.eval()
    with torch.no_grad():
        whole = codec.encode(torch.from_numpy(audio)[None])[0]
    frames = -(-audio.shape[1] // FRAME)
    assert pieced.shape == (3, frames)
    torch.testing.assert_close(pieced, whole[:, :frames], atol=1e-5, rtol=0)


def test_chunks_of_one_length_go_in_batches_and_training_goes_on():
    codec = Wide().train()
    encode_whole(codec, tone(10.0, RATE).T, chunk=1.0, batch=4)
    assert codec.training
    assert [shape[0] for shape in codec.calls] == [1, 4, 4, 1]
    assert max(shape[2] for shape in codec.calls) == RATE + 2 * 7 * FRAME


def test_too_little_context_would_be_noticed():
    """The test above can fail: without context, chunks differ from the whole."""
    codec = Wide()
    audio = tone(3.0, RATE, 30).T
    whole = encode_whole(codec, audio, chunk=10.0)
    codec.chunking = Exact(0)
    assert (encode_whole(codec, audio, chunk=0.5) - whole).abs().max() > 1e-2


def test_a_windowed_codec_is_cut_in_the_middle_of_the_overlap():
    codec = ToyCodecConfig(channels=1, windowed=True).build()
    assert encode_whole(codec, tone(3.0, 8000).T, chunk=1.0).shape == (8, 240)


def test_the_cache_holds_every_frame_of_every_piece_in_place(tmp_path):
    corpus = corpus_of(tmp_path, [1.0, 0.055, 2.5])
    found = cached_latents(corpus, list(corpus.pieces), "train", Tokens(2001))
    assert found.counts.tolist() == [100, 6, 250] and found.starts.tolist() == [0, 100, 106]
    np.testing.assert_allclose(
        found.frames[:, 0], np.arange(356) + 100)  # steps of one, end to end
    assert found.frames.dtype == np.uint16 and isinstance(found.frames, np.memmap)


def test_it_is_made_once_for_the_same_weights_and_anew_for_others(tmp_path):
    corpus, codec = corpus_of(tmp_path, [1.0, 2.0]), Wide()
    pieces = list(corpus.pieces)
    first = cached_latents(corpus, pieces, "train", codec)
    calls = len(codec.calls)
    again = cached_latents(corpus, pieces, "train", codec)
    assert len(codec.calls) == calls
    np.testing.assert_array_equal(first.frames, again.frames)
    before = weights_digest(codec)
    with torch.no_grad():
        codec.deviation.fill_(2.0)
    assert weights_digest(codec) != before
    half = cached_latents(corpus, pieces, "train", codec)
    np.testing.assert_allclose(half.frames, first.frames / 2, atol=2e-3)
    assert cached_latents(corpus, pieces[:1], "train", codec).counts.tolist() == [
        100
    ]  # the corpus has changed


def test_a_kill_between_pieces_loses_at_most_one(tmp_path, monkeypatch):
    corpus, codec = corpus_of(tmp_path, [1.0, 0.5, 0.7, 0.2]), Wide()
    pieces = list(corpus.pieces)
    plain = Corpus.read

    def killed(corpus, piece):
        if piece is pieces[2]:
            raise KeyboardInterrupt
        return plain(corpus, piece)

    monkeypatch.setattr(Corpus, "read", killed)
    with pytest.raises(KeyboardInterrupt):
        cached_latents(corpus, pieces, "train", codec)
    with next(tmp_path.glob("latents/*/train.part")).open("ab") as file:
        file.write(b"half a piece")
    monkeypatch.undo()
    read = []
    monkeypatch.setattr(Corpus, "read", lambda c, p: read.append(p) or plain(c, p))
    found = cached_latents(corpus, pieces, "train", codec)
    assert read == pieces[2:]
    monkeypatch.undo()
    for piece, start, count in zip(pieces, found.starts, found.counts):
        alone = encode_whole(codec, corpus.read(piece))
        np.testing.assert_allclose(found.frames[start : start + count].T, alone, atol=2e-3)
    assert {p.name for p in next(tmp_path.glob("latents/*")).iterdir()} == {
        "train.npy",
        "train.json",
        "train.lock",
    }


def test_a_crop_is_a_function_of_seed_and_step_and_carries_its_prompt(tmp_path):
    corpus = corpus_of(tmp_path, [1.0, 0.5, 2.5])
    crops = LatentCrops(corpus, "train", Tokens(2001), frames=16, seed=3)
    batch, later = crops.batch(5, 8), crops.batch(6, 8)
    again = LatentCrops(corpus, "train", Tokens(2001), frames=16, seed=3).batch(5, 8)
    assert batch.latents.shape == (8, 1, 16) and batch.latents.dtype == torch.int64
    assert torch.equal(batch.latents, again.latents) and batch.prompts == again.prompts
    assert not torch.equal(batch.latents, later.latents)
    assert not torch.equal(
        batch.latents, LatentCrops(corpus, "train", Tokens(2001), 16, seed=4).batch(5, 8).latents
    )
    ends = np.cumsum([100, 50, 250]) + 100
    for row, prompt in zip(batch.latents[:, 0], batch.prompts):
        assert (row.diff() == 1).all()  # neighbours in one piece
        piece = int(np.searchsorted(ends, row[8].item() + 1))
        assert prompt.text == f"piece {piece}" and prompt.attributes["tempo"] == 60 + piece


def test_a_short_piece_is_followed_by_silence(tmp_path):
    corpus, codec = corpus_of(tmp_path, [0.1]), Wide()
    crop = LatentCrops(corpus, "train", codec, frames=40).batch(0, 1).latents[0]
    with torch.no_grad():
        silence = codec.eval().encode(torch.zeros(1, 1, RATE))[0, :, 50]
    torch.testing.assert_close(crop[:, 10:], silence[:, None].expand(-1, 30), atol=2e-3, rtol=0)
    assert crop.dtype == torch.float32 and (crop[:, :10] - silence[:, None]).abs().max() > 0.01


def test_crops_of_latents_are_where_crops_of_audio_are(tmp_path):
    """Every moment is as likely as any other: the middle of a long piece as its ends, a long piece more."""
    corpus = corpus_of(tmp_path, [1.0, 9.0])
    crops = LatentCrops(corpus, "train", Tokens(2001), frames=10)
    places = torch.cat([crops.batch(step, 64).latents[:, 0, 5] for step in range(20)]).double() - 100
    assert (places > 100).double().mean() == pytest.approx(0.9, abs=0.03)
    counts = torch.histc(places[places > 110], 8, 110, 1000)
    assert counts.max() / counts.min() < 1.6
    audio = AudioCrops(corpus, "train", 10 * FRAME).batch(0, 64)
    assert len(audio.prompts) == 64


def test_a_corpus_is_heard_in_the_channels_that_are_asked_for(tmp_path):
    left, right = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3000)).astype(np.float32)
    (tmp_path / "audio").mkdir()
    sf.write(tmp_path / "audio/0.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    stereo = Corpus(tmp_path, "two", RATE, 2, "MIT", (Piece("audio/0.wav", 3000 / RATE, "train"),))
    mono = stereo.in_channels(1)
    np.testing.assert_allclose(mono.read(stereo.pieces[0])[0], (left + right) / 2, atol=1e-7)
    part = mono.in_channels(2).read(stereo.pieces[0], 100, 50)
    np.testing.assert_array_equal(part, np.stack([left, right])[:, 100:150])
    assert AudioCrops(mono, "train", 3000).batch(0, 2).audio.shape == (2, 1, 3000)
    codec = Wide()
    mixed = cached_latents(stereo, list(stereo.pieces), "train", codec).frames
    alone = encode_whole(codec, ((left + right) / 2)[None])
    np.testing.assert_allclose(mixed.T, alone, atol=2e-3)


def test_another_rate_and_a_changed_file_are_refused(tmp_path):
    corpus = corpus_of(tmp_path, [1.0])
    with pytest.raises(UserError, match="8000 Hz"):
        cached_latents(corpus, list(corpus.pieces), "train", ToyCodecConfig(channels=1).build())
    sf.write(tmp_path / "audio/0.flac", np.zeros(300), RATE)
    with pytest.raises(UserError, match="not as long"):
        cached_latents(corpus, list(corpus.pieces), "train", Wide())
    (tmp_path / "audio/0.flac").write_bytes(b"")
    with pytest.raises(UserError, match="can't be read"):
        cached_latents(corpus, list(corpus.pieces), "train", Wide())


def test_a_damaged_index_is_made_anew(tmp_path):
    corpus = corpus_of(tmp_path, [1.0])
    pieces = list(corpus.pieces)
    first = np.array(cached_latents(corpus, pieces, "train", Wide()).frames)
    index = next(tmp_path.glob("latents/*/train.json"))
    kept_index = index.read_text()
    assert json.loads(kept_index)["counts"] == [100]
    whole, kept = index.with_suffix(".npy"), index.with_suffix(".npy").read_bytes()
    damages = (lambda: index.write_text("{"), lambda: index.write_text("[1]"), whole.unlink,
               lambda: whole.write_bytes(kept[:-10]), lambda: whole.write_bytes(b""))
    for damage in damages:
        damage()
        np.testing.assert_array_equal(cached_latents(corpus, pieces, "train", Wide()).frames, first)
    index.unlink()  # killed on the way, and the disk kept less than was marked
    whole.with_suffix(".part").write_bytes(kept[:100])
    for mark in ('{"heard": "', json.dumps({"heard": json.loads(kept_index)["heard"], "pieces": 1, "bytes": 900})):
        index.with_name("train.part.json").write_text(mark)
        np.testing.assert_array_equal(cached_latents(corpus, pieces, "train", Wide()).frames, first)
        index.unlink()


def test_the_real_codec_is_exact_in_its_stated_context():
    from orchestrion.codecs.spectral import SpectralCodecConfig

    torch.manual_seed(0)
    codec = SpectralCodecConfig(width=32, deep_width=32, latents=8).build()
    audio = np.random.default_rng(0).normal(0, 0.1, (2, 44_100 * 6)).astype(np.float32)
    whole, pieced = encode_whole(codec, audio, chunk=60.0), encode_whole(codec, audio, chunk=1.0)
    torch.testing.assert_close(pieced, whole, atol=1e-4, rtol=0)


def test_a_decoder_that_is_trained_further_leaves_the_latents_as_they_are():
    torch.manual_seed(0)
    codec = SpectralCodecConfig(channels=1, latents=4, width=16, depth=1, deep_width=16, deep_depth=1).build().eval()
    audio = torch.randn(1, 1, 8192)
    before, latents = weights_digest(codec), codec.encode(audio)
    for part in ("decoder.leave.weight", "encoder.leave.weight"):
        with torch.no_grad():
            codec.get_parameter(part).add_(0.1)
        same = torch.equal(codec.encode(audio), latents)
        assert same == (weights_digest(codec) == before) == part.startswith("decoder")
