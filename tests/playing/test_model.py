import pytest
import torch

from orchestrion import Audio, Prompt, load
from orchestrion.audio.levels import CEILING_DB, from_decibels, true_peak
from orchestrion.contracts import Conditioner
from orchestrion.errors import UserError
from orchestrion.generators.latent_gan import LatentGanConfig
from orchestrion.playing.model import Model
from orchestrion.systems.folder import About
from orchestrion.systems.system import SystemConfig
from toys import ToyCodecConfig, toy_model_folder, toy_system


@pytest.fixture
def model():
    return Model(toy_system(), About(name="toy", licence="MIT", defaults={"steps": 3}), device="cpu",
                 dtype="float32")


def test_a_clip_is_as_long_as_asked_and_says_how_it_was_made(model):
    clip = model.generate(duration=1.2345, seed=7)
    assert clip.samples.shape == (2, round(1.2345 * 8000))
    record = clip.provenance
    assert (record["model"], record["seed"], record["duration"], record["licence"]) == ("toy", 7, 1.2345, "MIT")
    assert record["settings"] == {"steps": 3, "variety": 1.0, "device": "cpu", "dtype": "float32"}


def test_the_same_seed_gives_the_same_samples(model):
    assert torch.equal(model.generate(duration=1, seed=3).samples, model.generate(duration=1, seed=3).samples)
    other = model.generate(duration=1, seed=4).samples
    assert (model.generate(duration=1, seed=3).samples - other).abs().max() > 0.1


def test_a_clip_is_the_same_alone_and_in_a_batch(model):
    alone = model.generate(duration=1, seed=2).samples
    batch = model.generate_batch([None] * 3, 1, [1, 2, 3])
    assert torch.allclose(batch[1].samples, alone, atol=1e-3)


def test_generated_audio_stays_under_the_ceiling(model):
    for seed in range(3):
        loud = model.generate(duration=1, seed=seed, options={"variety": 50.0})
        assert true_peak(loud.samples) == pytest.approx(from_decibels(CEILING_DB), rel=1e-3)
    quiet = model.generate(duration=1, seed=0, options={"variety": 0.01}).samples
    assert quiet.abs().max() < 0.5


def test_files_hold_what_generate_returns(model, tmp_path):
    model.write_batch([tmp_path / "a.wav", tmp_path / "b.wav"], [None, None], 2.0, [5, 6], {"variety": 9.0})
    expected = model.generate_batch([None, None], 2.0, [5, 6], {"variety": 9.0})
    for name, clip in zip("ab", expected):
        assert (Audio.read(tmp_path / f"{name}.wav").samples - clip.samples).abs().max() < 1.01 / 32768


def test_options_come_from_the_family_the_model_and_the_user_in_this_order(model):
    assert (model.options().steps, model.options().variety) == (3, 1.0)
    assert model.options({"steps": 9, "variety": None}).steps == 9
    with pytest.raises(UserError, match=r"no option 'stepz'.*did you mean 'steps'"):
        model.options({"stepz": 9})


def test_encoding_brings_audio_to_the_models_rate_and_channels(model):
    tone = Audio(torch.sin(torch.arange(16000 * 2) * 0.05)[None], 16000)
    assert model.encode(tone).shape == (1, 8, 160)
    back = model.reconstruct(tone)
    assert (back.sample_rate, back.channels, back.duration) == (8000, 2, 2.0)
    assert back.provenance["verb"] == "reconstruct"


def test_stream_gives_the_whole_in_blocks(model):
    latents = model.sample([None], 30.0, [1], model.options())
    blocks = list(model.stream(latents, length=240_000))
    assert len(blocks) > 1
    whole = model.system.codec.decode(latents)[0, :, :240_000]
    assert torch.allclose(torch.cat(blocks, -1), whole, atol=1e-4)


@pytest.mark.parametrize("call, sentence", [
    (lambda m: m.generate(duration=-1), "a duration is a number of seconds above 0, not -1"),
    (lambda m: m.generate(duration=float("nan")), "a duration is"),
    (lambda m: m.generate(seed=-5, duration=1), "a seed is a whole number"),
    (lambda m: m.generate("calm", duration=1), "takes no prompt"),
    (lambda m: m.generate(Prompt(attributes={"tempo": 90}), duration=1), "takes no prompt"),
    (lambda m: m.encode(Audio(torch.zeros(1, 0), 8000)), "no sound to encode"),
])
def test_what_can_not_be_done_is_refused(model, call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(model)


def test_a_loop_is_one_turn_of_the_sound_that_never_ends():
    """What comes before its first sample and after its last is the loop itself: no seam at any volume."""
    gan = LatentGanConfig(latlen=32, coordinates=8, style=8, base_channels=8, multipliers=(6, 4, 2))
    model = Model(SystemConfig(codec=ToyCodecConfig(), generator=gan).build(), About(name="gan"), device="cpu",
                  dtype="float32")
    turn = model.sample([None], 0.4, [1], model.options({}, loop=True))
    assert turn.shape[-1] == 32  # 0.4 s are 32 frames of the toy's: one turn
    endless = model.system.codec.decode(turn.repeat(1, 1, 3))[0]
    loop = model.generate(duration=0.4, seed=1, loop=True)
    assert torch.allclose(loop.samples, endless[:, 3200:6400], atol=1e-5)
    alone = model.system.codec.decode(turn)[0]  # decoded on its own, its ends hear silence instead
    assert (alone - endless[:, 3200:6400]).abs().max() > 1e-3
    assert loop.provenance["verb"] == "loop"
    assert model.generate(duration=1.1, seed=1, loop=True).samples.shape[1] == 3 * 3200


def test_a_codec_alone_generates_nothing():
    codec = Model(SystemConfig(codec=ToyCodecConfig()).build(), About(name="toy-codec"))
    with pytest.raises(UserError, match="toy-codec is a codec"):
        codec.generate(duration=1)


def test_devices_and_precisions_that_are_not_there_are_refused(tmp_path):
    toy_model_folder(tmp_path / "toy")
    with pytest.raises(UserError, match="no device 'cuda:7'"):
        load(tmp_path / "toy", device="cuda:7")
    with pytest.raises(UserError, match="no device 'gpu'"):
        load(tmp_path / "toy", device="gpu")
    with pytest.raises(UserError, match="no precision 'int3'"):
        load(tmp_path / "toy", dtype="int3")


def test_bfloat16_sounds_nearly_the_same(tmp_path):
    toy_model_folder(tmp_path / "toy")
    fine = load(tmp_path / "toy", device="cpu", dtype="float32").generate(duration=1, seed=1).samples
    coarse = load(tmp_path / "toy", device="cpu", dtype="bfloat16").generate(duration=1, seed=1).samples
    assert 0 < (fine - coarse).abs().max() < 0.05


def test_a_negative_prompt_for_a_model_without_guidance_is_refused():
    model = Model(toy_system(), About(name="toy"))
    model.system.conditioner = Conditioner()
    with pytest.raises(UserError, match="toy has no guidance"):
        model.generate(Prompt(negative="busy"), 1.0)


def test_more_than_memory_holds_is_refused_before_the_work(monkeypatch):
    model = Model(toy_system(), About(name="toy"))
    monkeypatch.setattr("orchestrion.playing.room.memory", lambda: 8 * 80 * 16 - 1)  # a second's latents, four times
    with pytest.raises(UserError, match="of memory"):
        model.generate(None, 1.0)
    monkeypatch.setattr("orchestrion.playing.room.memory", lambda: 8 * 80 * 16)
    assert model.generate(None, 1.0).duration == 1.0
