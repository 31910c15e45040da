import math
from dataclasses import replace

import pytest
import torch

from orchestrion.codecs.spectral import (
    SpectralCodecConfig,
    from_middle_side,
    full_scale,
    side_error,
    to_middle_side,
    turned,
    turning_error,
)
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


@pytest.mark.parametrize(("channels", "griffin_lim", "decoder_size", "side_width"), [
    (1, 0, 0, 0), (2, 0, 0, 0), (1, 2, 0, 0), (2, 1, 0, 0), (1, 0, 4096, 0), (2, 1, 4096, 0), (1, 0, 8192, 0),
    (2, 1, 4096, 16), (2, 0, 0, 16)])
def test_chunks_with_context_decode_to_the_same_samples_as_the_whole(channels, griffin_lim, decoder_size, side_width):
    config = SpectralCodecConfig(channels=channels, latents=8, width=32, depth=3, deep_width=48, deep_depth=2,
                                 griffin_lim=griffin_lim, decoder_size=decoder_size, side_width=side_width)
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
    spectrum = codec.stft(torch.cos(2 * torch.pi * 50 * time / 2048)[None]) / full_scale(codec.stft)
    assert spectrum[0, 8, 50].abs().item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("change", [{"channels": 3}, {"stride": 3}, {"decoder_size": 3000}, {"decoder_size": 16384},
                                    {"channels": 1, "side_width": 16}])
def test_configurations_without_sense_are_refused(change):
    with pytest.raises(UserError):
        SpectralCodecConfig(**change).build()


@pytest.mark.parametrize("decoder_size", [0, 4096])
def test_components_explain_most_before_any_training(decoder_size):
    """Notes are few components: with as many latents as there are, the beginning is nearly exact in level."""
    torch.manual_seed(0)
    codec = replace(NANO, decoder_size=decoder_size).build()
    clips = [torch.from_numpy(pluck_tune(1.5, seed=i)[None, :, : 2048 * 32]) for i in range(3)]

    def error():
        return codec.eval()(clips[0]).losses["magnitude"].item()

    before = error()
    codec.begin(clips)
    assert error() < 0.3 * before


def test_phases_that_turn_as_the_true_ones_cost_nothing_wherever_they_begin():
    """One minus the cosine of a steady error of the turning; that of phases without any relation is 1."""
    torch.manual_seed(0)
    clip = torch.from_numpy(pluck_tune(1.5)[None, :1, : 2048 * 32])
    codec = SpectralCodecConfig(channels=1, latents=8, width=8, depth=2, deep_width=8, deep_depth=1,
                                decoder_size=4096).build()
    truth, weights = codec._spectrum(clip, codec.made), codec.importance
    frames = torch.arange(truth.shape[2])[:, None]
    assert turning_error(truth, truth.angle() + 1.3, weights) < 1e-5
    drifting = turning_error(truth, truth.angle() + 0.2 * frames, weights)
    assert drifting.item() == pytest.approx((2 - math.cos(0.2) - math.cos(0.8)) / 3, abs=1e-4)
    assert turning_error(truth, 2 * math.pi * torch.rand(truth.shape), weights).item() == pytest.approx(1, abs=0.05)


def test_a_side_made_from_the_middle_leaves_middle_and_latents_as_they_are():
    """The mean of both channels is the mono codec's sound, whatever the side; the latents are the mono mix's."""
    torch.manual_seed(0)
    mono = SpectralCodecConfig(channels=1, latents=8, width=32, depth=2, deep_width=48, deep_depth=1,
                               decoder_size=4096, griffin_lim=2).build().eval()
    wide = replace(mono.config, channels=2, side_width=16).build().eval()
    left = wide.load_state_dict(mono.state_dict(), strict=False)
    assert not left.unexpected_keys and all(name.startswith("decoder.side.") for name in left.missing_keys)
    latents = torch.randn(1, 8, 150)
    one, two = mono.decode(latents), wide.decode(latents)
    assert torch.allclose(two.mean(1, keepdim=True), one, atol=1e-6)
    assert (two[:, 0] - two[:, 1]).norm() > 0.1 * one.norm()
    audio = torch.randn(1, 2, 2048 * 20)
    assert torch.allclose(wide.encode(audio), mono.encode(audio.mean(1, keepdim=True)), atol=1e-5)


def test_the_sides_error_is_nought_for_the_true_gain_and_phase_and_tells_how_far_others_are():
    codec = SpectralCodecConfig(channels=1, latents=8, width=8, depth=2, deep_width=8, deep_depth=1).build()
    clip = torch.from_numpy(pluck_tune(1.5)[None, :1, : 2048 * 32])
    middle = codec._spectrum(clip, codec.made)[:, 0]
    gain, angle = math.log(0.5), 0.7
    truth = middle * 0.5 * complex(math.cos(angle), math.sin(angle))

    def error(gain, angle, length=1.0):
        told = torch.tensor([gain, length * math.cos(angle), length * math.sin(angle)])[:, None]
        side = told.expand(*middle.shape[:2], 3, middle.shape[2])
        return side_error(side, middle, truth, codec.importance).item(), turned(middle, side)

    exact, made = error(gain, angle, length=3.0)
    assert exact < 1e-2 and torch.allclose(made, truth, atol=1e-5)
    turned_away, _ = error(gain, angle + math.pi / 2)
    assert 0.8 < turned_away < 1.001
    twice, _ = error(gain + math.log(2), angle)
    assert 0.6 < twice < math.log(2)


def test_a_side_is_learnt_where_notes_tell_of_it():
    """High notes stand to the left and low ones to the right: after a little training so they do out of the codec."""
    torch.manual_seed(0)
    codec = replace(NANO, side_width=32).build()
    time = torch.arange(2048 * 24) / 44_100
    low, high = (torch.sin(2 * torch.pi * pitch * time) * 0.2 for pitch in (220, 1760))
    half = len(time) // 2
    low, high = low * (torch.arange(len(time)) < half), high * (torch.arange(len(time)) >= half)
    clip = torch.stack([0.4 * low + 1.6 * high, 1.6 * low + 0.4 * high])[None]
    codec.begin([clip])
    optimiser = torch.optim.AdamW(codec.decoder.side.parameters(), lr=3e-3)
    codec.train()
    for _ in range(60):
        optimiser.zero_grad()
        codec(clip).losses["side"].backward()
        optimiser.step()
    with torch.no_grad():
        made = codec.eval().decode(codec.encode(clip))[0]
    left, right = made.square().unflatten(1, (2, half)).sum(2).log10().mul(10)  # dB, of either half
    truth = 20 * math.log10(1.6 / 0.4)
    assert (right - left)[0].item() == pytest.approx(truth, abs=3)
    assert (left - right)[1].item() == pytest.approx(truth, abs=3)


@pytest.mark.parametrize("place", [0, 1])
def test_a_steady_tone_looks_the_same_in_every_latents_frames(place):
    """By the decoder's clock, at a bin whose clock repeats with the latents."""
    codec = SpectralCodecConfig(channels=1, latents=8, width=8, depth=2, deep_width=8, deep_depth=1,
                                decoder_size=4096).build()
    time = torch.arange(2048 * 8)
    spectrum = codec.made(torch.cos(2 * torch.pi * 100 * time / 4096)[None])[0, 4 + place :: 2, 99:102][:4]
    assert spectrum.angle().sub(spectrum[0].angle()).abs().max() < 1e-3


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


@pytest.mark.parametrize(("channels", "griffin_lim", "decoder_size", "side_width"), [
    (1, 0, 0, 0), (2, 0, 0, 0), (1, 2, 0, 0), (2, 2, 0, 0), (1, 0, 4096, 0), (2, 2, 4096, 0), (2, 2, 4096, 16)])
def test_playing_sounds_as_training_does(channels, griffin_lim, decoder_size, side_width):
    """Without gradients the spectra are made in blocks, and matrix products are padded: the same samples, at
    lengths that are no multiple of a block's too; in half precision, at -40 dB."""
    torch.manual_seed(0)
    codec = SpectralCodecConfig(channels=channels, latents=16, width=32, depth=2, deep_width=48, deep_depth=1,
                                griffin_lim=griffin_lim, decoder_size=decoder_size, side_width=side_width).build()
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
