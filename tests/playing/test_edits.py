"""Edits keep what is kept, sample for sample, and join without a click."""

import math

import pytest
import torch

from editing_toys import RATE, EditingToyConfig, music
from orchestrion.audio import Audio
from orchestrion.codecs.mel import MelImageConfig
from orchestrion.errors import UserError
from orchestrion.evaluation.seams import jumps
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.unet2d import UNet2dConfig
from orchestrion.playing.edits import FADE, How, crossfade, joined
from orchestrion.playing.model import Model
from orchestrion.systems.folder import About
from orchestrion.systems.system import System, SystemConfig
from toys import ToyCodecConfig, ToyGeneratorConfig


@pytest.fixture(scope="module")
def model():
    config = SystemConfig(codec=ToyCodecConfig(channels=1), generator=EditingToyConfig())
    return Model(config.build().eval(), About("toy"), dtype="float32", device="cpu")


def test_a_continuation_begins_with_the_file_itself(model):
    source = music(3.01)
    made = model.continue_audio(source, 2.0, How(seed=1))
    assert made.duration == pytest.approx(5.01, abs=1e-3)
    joint = source.samples.shape[1] // 100 * 100 - 100 - round(FADE * RATE)
    assert torch.equal(made.samples[:, :joint], source.samples[:, :joint])
    assert made.samples[:, 3 * RATE + 200 :].std() > 0.001
    assert torch.equal(made.samples, model.continue_audio(source, 2.0, How(seed=1)).samples)
    assert not torch.equal(made.samples, model.continue_audio(source, 2.0, How(seed=2)).samples)
    assert made.provenance["verb"] == "continue" and made.provenance["duration"] == 2.0


def test_inpainting_leaves_the_rest_alone(model):
    source = music(4.0)
    made = model.inpaint(source, 1.5, 2.5)
    fade = round(FADE * RATE)
    assert made.samples.shape == source.samples.shape
    assert torch.equal(made.samples[:, : 12_000 - fade], source.samples[:, : 12_000 - fade])
    assert torch.equal(made.samples[:, 20_000 + fade :], source.samples[:, 20_000 + fade :])
    assert not torch.allclose(made.samples[:, 12_000:20_000], source.samples[:, 12_000:20_000], atol=0.01)


@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (3.0, 4.0), (0.0, 4.0), (1.005, 1.006)])
def test_any_part_may_be_inpainted(model, start, stop):
    source = music(4.0)
    made = model.inpaint(source, start, stop)
    assert made.samples.shape == source.samples.shape and made.samples.isfinite().all()


def test_only_what_is_near_is_worked_on(model):
    """A minute before the joint is not decoded again; the generator hears 20 s of it."""
    model.generator.seen = []
    made = model.continue_audio(music(60.0), 1.0)
    assert model.generator.seen[-1].source.shape[-1] <= (20 + 1 + 0.1) * 80 and made.duration == pytest.approx(61)
    keep = model.generator.seen[-1].keep[0]
    assert keep.sum() >= 1590 and not keep[-80:].any()


def test_a_variation_goes_from_the_copy_to_something_else(model):
    source = music(2.0)
    copy = model.reconstruct(source).samples
    far = [(model.vary(source, s).samples - copy).square().mean() for s in (0.0, 0.4, 0.8)]
    assert far[0] < 1e-9 < far[1] < far[2]


def test_an_interpolation_is_as_long_as_the_shorter(model):
    made = model.interpolate(music(2.0), music(3.0, seed=1), 0.25)
    assert made.duration == pytest.approx(2.0) and made.provenance["share"] == 0.25


def test_joints_do_not_click():
    """Two sounds without anything in common, joined: no more high band at the joints than elsewhere."""
    torch.manual_seed(0)
    time = torch.arange(3 * RATE) / RATE
    old = 0.3 * torch.sin(2 * math.pi * 220 * time)[None]
    new = 0.3 * torch.sin(2 * math.pi * 247 * time + 1)[None]
    made = joined(old, new, 0, RATE, 2 * RATE, 3 * RATE, round(FADE * RATE))
    fade = round(FADE * RATE)
    clicks = jumps(made, [RATE, RATE - fade, 2 * RATE, 2 * RATE + fade], RATE).click
    assert clicks.max() < 3.0
    hard = old.clone()
    hard[:, RATE : 2 * RATE] = new[:, RATE : 2 * RATE]
    assert jumps(hard, [RATE], RATE).click.item() > 9.0  # the same without a fade


def test_a_crossfade_keeps_the_level():
    a, b = 0.1 * torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(1))
    for old, new in ((a, a), (a, b)):
        level = 20 * crossfade(old, new).unfold(1, 500, 250).std(-1).div(0.1).log10()
        assert level.abs().max() < 1.0
    assert torch.allclose(crossfade(a, a), a, atol=1e-6)


def test_a_codec_that_forgets_the_level_is_brought_back_to_it():
    """A published pipeline's images are scaled to their own peak: the continuation must not be louder than the file."""
    torch.manual_seed(0)
    codec = MelImageConfig(sample_rate=RATE, bands=32, size=1024, hop=256, own_peak=True)
    net = UNet2dConfig(channels=(8, 8), attention=(False, False), layers=1, groups=4)
    config = SystemConfig(codec=codec, generator=DiffusionConfig(net=net, context=16, overlap=4))
    model = Model(System(config).eval(), About("toy"), dtype="float32", device="cpu")
    source = Audio(music(2.0).samples * 0.05, RATE)
    made = model.inpaint(source, 0.8, 1.0, How(options={"steps": 2}))
    near = slice(round(0.8 * RATE) - 1500, round(0.8 * RATE) - 1200)
    assert made.samples.abs().max() < 1 and torch.equal(made.samples[:, near], source.samples[:, near])


def test_a_loop_of_a_codec_that_recovers_phases_comes_round():
    """Played twice, a loop has no click where it begins again."""
    torch.manual_seed(0)
    codec = MelImageConfig(sample_rate=RATE, bands=32, size=1024, hop=256)
    net = UNet2dConfig(channels=(8, 8), attention=(False, False), layers=1, groups=4)
    config = SystemConfig(codec=codec, generator=DiffusionConfig(net=net, context=16, overlap=4))
    model = Model(System(config).eval(), About("toy"), dtype="float32", device="cpu")
    image = model.encode(music(64 * 256 / RATE))[..., :64]  # a chord, as if it had been made
    made = torch.cat(list(model._blocks(image, 2.0, 0, loop=True)), -1)
    assert made.shape == (1, 64 * 256)
    twice = torch.cat([made, made], -1)
    assert jumps(twice, [made.shape[1]], RATE).click.item() < 3.0
    assert model.generate(duration=1.0, loop=True, options={"steps": 2}).samples.shape[1] % 512 == 0


def test_bad_input_is_refused(model):
    with pytest.raises(UserError, match="no samples"):
        model.vary(Audio(torch.zeros(1, 0), RATE))
    with pytest.raises(UserError, match="strength"):
        model.vary(music(1.0), 1.5)
    with pytest.raises(UserError, match="a later one within"):
        model.inpaint(music(1.0), 0.5, 3.0)
    with pytest.raises(UserError, match="above 0"):
        model.continue_audio(music(1.0), -1.0)
    with pytest.raises(UserError, match="no option"):
        model.vary(music(1.0), 0.5, How(options={"nonsense": 1}))
    plain = Model(SystemConfig(codec=ToyCodecConfig(), generator=ToyGeneratorConfig()).build().eval(), About("plain"),
                  dtype="float32", device="cpu")
    with pytest.raises(UserError, match="can't continue"):
        plain.continue_audio(music(1.0))


@pytest.mark.slow
def test_the_bundled_piano_goes_on():
    model = Model.load("piano")
    source = model.generate(duration=6.0, seed=3)
    made = model.continue_audio(source, 3.0, How(seed=1))
    joint = source.samples.shape[1] - 2 * 2048 - round(FADE * 44_100)
    assert torch.equal(made.samples[:, :joint], source.samples[:, :joint])
    assert made.samples[:, -88_200:].std() > 0.003
