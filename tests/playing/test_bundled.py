"""The models that come with the package: whole, small enough, and they sound."""

import numpy as np
import pytest
import torch

from orchestrion.audio import Audio
from orchestrion.contracts import Prompt
from orchestrion.evaluation.adherence import brightness
from orchestrion.evaluation.onsets import FRAME_RATE, onset_rate, onset_strength
from orchestrion.evaluation.pulse import autocorrelation
from orchestrion.evaluation.reconstruction import distances
from orchestrion.evaluation.signals import mono
from orchestrion.generators.flow import FlowOptions
from orchestrion.playing.chunks import decode_chunks
from orchestrion.playing.model import Model
from orchestrion.systems.folder import load_model
from orchestrion.systems.shelf import BUNDLED, aliases, bundled_models
from plucks import pluck_tune


def test_the_defaults_are_there():
    assert {aliases()["piano"], aliases()["text"]} <= set(bundled_models())


def test_they_are_small_enough_to_come_along():
    sizes = [file.stat().st_size for file in BUNDLED.rglob("*") if file.is_file()]
    assert sum(sizes) <= 96 * 2**20 and max(sizes) <= 16 * 2**20


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_each_has_its_card_and_licence(name):
    loaded = load_model(bundled_models()[name])
    assert loaded.about.name == name and loaded.about.licence == "MIT"
    assert "POP909" in loaded.about.data and loaded.about.scores and loaded.about.training


def test_the_codec_gives_notes_back():
    """Music that it never heard, of other partials than a piano's: nearer by a third than the same an octave lower
    (measured: 0.45 against 0.82)."""
    tune = pluck_tune(4.0, seed=3).mean(0, keepdims=True)
    model = Model.load("spectral-v5", dtype="float32")
    made = model.reconstruct(Audio(torch.from_numpy(tune), 44_100)).samples.numpy()
    wrong = np.repeat(tune, 2, axis=1)[:, : tune.shape[1]]
    assert distances(tune, made, 44_100)["constant-Q L1"] < 0.67 * distances(tune, wrong, 44_100)["constant-Q L1"]


def test_the_piano_plays_the_same_twice_and_not_silence():
    model = Model.load("piano")
    first, again = (model.generate(duration=3, seed=4) for _ in range(2))
    assert torch.equal(first.samples, again.samples)
    assert first.samples.shape == (model.channels, 3 * 44_100)
    assert first.samples.square().mean().sqrt() > 0.005
    assert not torch.equal(first.samples, model.generate(duration=3, seed=5).samples)


def test_the_text_model_plays_busy_and_sparse_as_asked():
    """Of pairs from one seed at least three in four have more onsets where many were asked for (measured: 132 of 150).
    No words and words that it never read are answered too."""
    model = Model.load("text")
    seeds = [1, 2, 3, 4]
    busy, sparse = (model.generate_batch([f"{words} piano"] * 4, 8.0, seeds) for words in ("busy", "sparse"))
    assert sum(onset_rate(up.samples, up.sample_rate) > onset_rate(down.samples, down.sample_rate)
               for up, down in zip(busy, sparse)) >= 3
    none, unknown = model.generate_batch(["", "zxqv blorp"], 2.0, [5, 5])
    assert min(clip.samples.square().mean().sqrt() for clip in (none, unknown)) > 1e-3


def test_the_text_model_plays_high_and_low_as_asked():
    """Of pairs from one seed at least three in four have the higher centroid where high notes were asked for (measured:
    148 of 150)."""
    model = Model.load("text")
    seeds = [1, 2, 3, 4]
    high, low = (model.generate_batch([f"{words} piano"] * 4, 5.0, seeds) for words in ("high notes", "low notes"))
    assert sum(centroid(up) > centroid(down) for up, down in zip(high, low)) >= 3


def centroid(clip: Audio) -> float:
    """Octaves above 1 Hz."""
    return brightness(clip.samples, clip.sample_rate)


@pytest.mark.parametrize("name", ["piano", "text"])
def test_they_keep_to_the_tempo_that_is_asked_for(name):
    """Onsets of clips at 75 beats a minute come again after 0.8 s more than those at 100 do, and these after 0.6 s."""
    model = Model.load(name)

    def again(tempo: float, seconds: float) -> float:
        asked = Prompt(text="piano" if name == "text" else None, attributes={"tempo": tempo})
        clips = model.generate_batch([asked] * 4, 10.0, [0, 1, 2, 3])
        lines = [autocorrelation(onset_strength(mono(clip.samples), clip.sample_rate), 200) for clip in clips]
        return float(torch.stack(lines)[:, round(seconds * FRAME_RATE)].mean())

    assert again(75, 0.8) > 0.1 + again(100, 0.8)
    assert again(100, 0.6) > 0.1 + again(75, 0.6)


def test_the_codec_in_chunks_is_the_codec_whole():
    model = Model.load("spectral-v5", dtype="float32")
    codec = model.system.codec
    latents = torch.randn(1, codec.space.channels, 130, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        chunks = torch.cat(list(decode_chunks(codec, latents, codec.decode, seconds=1.0)), -1)
        assert (chunks - codec.decode(latents)[0]).abs().max() < 1e-4


def test_half_precision_is_40_dB_below_the_sound():
    """Of each of twelve tunes through the codec: what bfloat16 adds to the samples (measured: -43 at worst)."""
    exact, half = (Model.load("spectral-v5", dtype=dtype) for dtype in ("float32", "bfloat16"))
    for seed in range(12):
        latents = exact.encode(Audio(torch.from_numpy(pluck_tune(3.0, seed=seed)), 44_100))
        wanted, made = (model.decode(latents).samples for model in (exact, half))
        assert 20 * torch.log10((made - wanted).norm() / wanted.norm()) < -40


def test_the_codec_sounds_in_stereo_whose_mix_is_what_it_codes():
    """A file in mono stays mono, as loud as the mix; and two channels that cancel have nothing to code."""
    model = Model.load("spectral-v5", dtype="float32")
    tune = torch.from_numpy(pluck_tune(3.0, seed=3).mean(0, keepdims=True))
    wide = model.reconstruct(Audio(torch.cat([0.6 * tune, 0.4 * tune]), 44_100)).samples
    assert wide.shape == (2, tune.shape[1]) and (wide[0] - wide[1]).norm() > 0.05 * wide.mean(0).norm()
    for channels in (1, 2):
        narrow = model.reconstruct(Audio(0.5 * tune.expand(channels, -1), 44_100)).samples
        assert torch.equal(narrow[0], narrow[1])
        assert (narrow - wide.mean(0)).norm() < 1e-3 * narrow.norm()
    against = model.reconstruct(Audio(torch.cat([tune, -tune]), 44_100)).samples
    assert against.square().mean() < 1e-4 * tune.square().mean()


def test_what_goes_on_from_a_mono_recording_is_mono_and_from_a_stereo_one_stereo():
    model = Model.load("piano-flow", dtype="float32")
    tune = torch.from_numpy(pluck_tune(3.0, seed=3))
    for clip, one in ((tune.mean(0, keepdims=True), True), (tune * torch.tensor([[1.0], [0.5]]), False)):
        made = model.continue_audio(Audio(clip, 44_100), 2.0).samples[:, -44_100:]
        assert made.square().mean() > 1e-6 and torch.equal(made[0], made[1]) == one


@pytest.mark.slow
def test_the_flows_default_is_nearer_to_the_exact_path_than_twice_the_work_by_heun():
    """Of a flow that says nothing of its own: eight steps against 23 evaluations (docs/speed.md), from the same noise;
    the exact path by 40 steps of Heun."""
    model = Model.load("piano-flow", dtype="float32")

    def made(**options):
        return model.sample([None] * 2, 5.0, [0, 1], model.options(options))

    exact = made(steps=40, solver="heun", shift=2.0)
    ours = (made(steps=FlowOptions().steps) - exact).square().mean()
    assert ours < (made(steps=12, solver="heun", shift=1.0) - exact).square().mean()
    assert ours < 0.15**2 * exact.var()
