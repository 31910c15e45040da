import pytest
import torch
from overfitting import batch_of, distance, one_clip, train

from orchestrion.codecs.diffused import DecodeOptions
from orchestrion.codecs.dmae import DmaeConfig
from orchestrion.codecs.upsampler import UpsamplerConfig, resample
from orchestrion.codecs.vocoder import VocoderConfig
from orchestrion.errors import UserError
from orchestrion.nn.unet1d import UNet1dConfig
from orchestrion.systems.dmae import CODECS, CROP, dmae
from orchestrion.systems.upsampler import upsampler
from orchestrion.systems.vocoder import vocoder


@pytest.mark.slow
@pytest.mark.parametrize("build", [dmae, upsampler, vocoder])
def test_overfit_one_clip(build):
    recipe = build("nano")
    stage, codec = recipe.stages[0], (system := recipe.system.build()).codec
    clip = one_clip(codec, stage)
    system.eval()

    def measure():
        return distance(codec.decode(codec.encode(clip), clip.shape[-1]), clip)

    before = measure()
    first, last = train(system, stage, batch_of(clip, 4), 250)
    after = measure()
    print(f"{build.__name__}: loss {first:.3f} -> {last:.3f}, distance {before:.2f} -> {after:.3f}")
    assert after < 0.3 < 0.5 < before


def test_latents_and_numbers_are_the_papers():
    """2^18 samples of stereo are 256 frames of 32 numbers: 64 to 1. Level 4 is where 64·2^4 = 1024."""
    codec = CODECS["paper"]
    assert CROP["paper"] * codec.channels / (256 * codec.encoder.latents) == 64
    with torch.device("meta"):
        built = {size: CODECS[size].build() for size in ("paper", "paper32")}
    parameters = {size: sum(p.numel() for p in codec.parameters()) for size, codec in built.items()}
    assert parameters["paper"] == pytest.approx(185e6, rel=2e-3)
    assert parameters["paper32"] == pytest.approx(86e6, rel=0.05)
    assert built["paper"].frame == 1024 and built["paper32"].frame == 512


def test_noise_decides_the_phase_and_seeds_repeat():
    torch.manual_seed(0)
    codec = CODECS["nano"].build().eval()
    latents, options = torch.randn(2, 16, 8), DecodeOptions(steps=2)
    made = [codec.decode(latents, rng=torch.Generator().manual_seed(seed), options=options) for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1]) and not torch.allclose(made[0], made[2])
    assert torch.equal(codec.decode(latents, options=options), codec.decode(latents, options=options))


def test_an_encoder_of_another_rate_than_the_net_is_refused():
    levels = UNet1dConfig(channels=(8, 8), factors=(1, 2), items=(1, 1), groups=4)
    with pytest.raises(UserError, match="make them agree"):
        DmaeConfig(levels=levels, depth=1).build()


def test_a_tone_below_the_new_nyquist_passes_and_one_above_is_gone():
    time = torch.arange(4096) / 8000
    for hertz, kept in ((400, True), (1700, False)):
        tone = torch.sin(2 * torch.pi * hertz * time)[None, None]
        again = resample(resample(tone, 1, 4), 4, 1)
        assert again.shape == tone.shape
        middle = slice(512, -512)
        if kept:
            assert (again - tone)[..., middle].abs().max() < 2e-2
        else:
            assert again[..., middle].abs().max() < 2e-2


def test_a_vocoder_takes_less_sound_than_its_window():
    levels = UNet1dConfig(channels=(8,), factors=(4,), items=(1,), groups=4, features=8)
    codec = VocoderConfig(sample_rate=8000, bands=5, n_fft=64, hop=4, levels=levels).build().eval()
    latents = codec.encode(torch.randn(1, 1, 7))
    assert latents.shape == (1, 5, 8) and latents.isfinite().all()
    assert codec.decode(latents, 7, options=DecodeOptions(1)).shape == (1, 1, 7)


def test_an_upsampler_keeps_the_low_rate_waveform_as_its_latents():
    levels = UNet1dConfig(channels=(8,), factors=(4,), items=(1,), groups=4, features=8)
    codec = UpsamplerConfig(sample_rate=8000, factor=4, levels=levels, level=0.2).build()
    audio = torch.randn(1, 1, 400)
    assert codec.space.rate == 2000 and torch.allclose(codec.encode(audio), resample(audio, 1, 4) / 0.2)
