import pytest
import torch

from orchestrion.codecs.spectral import SpectralCodecConfig, from_middle_side, to_middle_side
from orchestrion.errors import UserError
from orchestrion.objectives.reconstruction import ReconstructionConfig
from orchestrion.systems.spectral import CODECS
from orchestrion.systems.system import SystemConfig
from plucks import pluck_tune

NANO = CODECS["nano"]


def test_middle_and_side_are_the_mono_mix_and_come_back():
    audio = torch.randn(2, 2, 100)
    assert torch.allclose(to_middle_side(audio)[:, 0], audio.mean(1))
    assert torch.allclose(from_middle_side(to_middle_side(audio)), audio, atol=1e-6)


@pytest.mark.parametrize(("channels", "griffin_lim"), [(1, 0), (2, 0), (1, 2), (2, 1)])
def test_chunks_with_context_decode_to_the_same_samples_as_the_whole(channels, griffin_lim):
    config = SpectralCodecConfig(channels=channels, latents=8, width=32, depth=3, deep_width=48, deep_depth=2,
                                 griffin_lim=griffin_lim)
    codec = config.build().eval()
    latents, context = torch.randn(1, 8, 90), codec.chunking.context
    whole = codec.decode(latents)
    chunk = codec.decode(latents[..., 40 - context : 50 + context])
    inner = chunk[..., context * codec.frame : (context + 10) * codec.frame]
    assert torch.allclose(inner, whole[..., 40 * codec.frame : 50 * codec.frame], atol=1e-4)
    # and the stated context is not generous by much: half of it is felt
    short = context // 2
    chunk = codec.decode(latents[..., 40 - short : 50 + short])
    inner = chunk[..., short * codec.frame : (short + 10) * codec.frame]
    assert not torch.equal(inner, whole[..., 40 * codec.frame : 50 * codec.frame])


def test_odd_lengths_are_padded_and_trimmed():
    codec = NANO.build().eval()
    audio = torch.randn(1, 2, 10_001)
    latents = codec.encode(audio)
    assert latents.shape == (1, NANO.latents, 5)
    assert codec.decode(latents, 10_001).shape == (1, 2, 10_001)


def test_sine_levels_enter_at_their_amplitude():
    codec = SpectralCodecConfig(channels=1).build()
    time = torch.arange(2048 * 8)
    spectrum = codec.stft(torch.cos(2 * torch.pi * 50 * time / 2048)[None]) / codec.full_scale
    assert spectrum[0, 8, 50].abs().item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("change", [{"channels": 3}, {"stride": 3}])
def test_configurations_without_sense_are_refused(change):
    with pytest.raises(UserError):
        SpectralCodecConfig(**change).build()


def test_components_explain_most_before_any_training():
    """Notes are few components: with as many latents as there are, the beginning is nearly exact in level."""
    torch.manual_seed(0)
    codec = NANO.build()
    clips = [torch.from_numpy(pluck_tune(1.5, seed=i)[None, :, : 2048 * 32]) for i in range(3)]

    def error():
        return codec.eval()(clips[0]).losses["magnitude"].item()

    before = error()
    codec.begin(clips)
    assert error() < 0.3 * before


def test_overfits_one_clip():
    """Trained on one clip it gives that clip back: its spectral distance is under a quarter of silence's, and under
    half of that to another clip of the same notes."""
    torch.manual_seed(0)
    system = SystemConfig(codec=NANO).build()
    objective = ReconstructionConfig(windows=(512, 2048)).build(system)
    clip = torch.from_numpy(pluck_tune(0.75)[None, :, : 2048 * 16])
    other = torch.from_numpy(pluck_tune(0.75, seed=9)[None, :, : 2048 * 16])

    def distance(real):
        system.eval()
        with torch.no_grad():
            terms = objective.compare(real, system.codec.decode(system.codec.encode(clip), clip.shape[-1]))
        return terms["log_magnitude"].item()

    silence = objective.compare(clip, torch.zeros_like(clip))["log_magnitude"].item()
    system.codec.begin([clip])
    optimiser = torch.optim.AdamW(system.codec.parameters(), lr=3e-3)
    system.train()
    for _ in range(80):
        optimiser.zero_grad()
        terms = objective.compare(clip, system.codec(clip).audio)
        (terms["log_magnitude"] + terms["convergence"] + terms["log_mel"]).backward()
        optimiser.step()
    after = distance(clip)
    assert after < 0.25 * silence
    assert after < 0.5 * distance(other)


@pytest.mark.parametrize(("channels", "griffin_lim"), [(1, 0), (2, 0), (1, 2), (2, 2)])
def test_playing_sounds_as_training_does(channels, griffin_lim):
    """Without gradients the spectra are made in blocks, and matrix products are padded: the same samples, at
    lengths that are no multiple of a block's too; in half precision, at -40 dB."""
    torch.manual_seed(0)
    codec = SpectralCodecConfig(channels=channels, latents=16, width=32, depth=2, deep_width=48, deep_depth=1,
                                griffin_lim=griffin_lim).build()
    clip = torch.from_numpy(pluck_tune(2.0)[None, :channels])
    codec.eval().begin([clip])
    latents = codec.encode(clip)
    with torch.no_grad():
        played = codec.decode(latents)
        with torch.autocast("cpu", torch.bfloat16):
            half = codec.decode(latents)
    assert played.shape == (1, channels, 44 * 2048) and played.square().mean() > 1e-5
    assert torch.allclose(played, codec.decode(latents), atol=1e-5)
    assert 20 * torch.log10((half - played).norm() / played.norm()) < -40
