"""Sounds through a RAVE: whole and in blocks the same, latents edited, and what can't be is refused."""

import re

import numpy as np
import pytest
import soundfile
import torch

from orchestrion.audio import Audio
from orchestrion.cli import main
from orchestrion.codecs.rave import RaveConfig, RaveV2Config
from orchestrion.errors import UserError
from orchestrion.playing import Model
from orchestrion.playing.streaming import Report, Stream, cut, filter_delay, play
from orchestrion.playing.transfer import LatentEdit, interpolate, keep_fidelity, transfer
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import SystemConfig
from toys import toy_system

NET = RaveV2Config(capacity=4, ratios=(4, 4), dilations=((1, 3), (1,)))
RATE = 16_000


def rave(causal=True, **changes):
    torch.manual_seed(0)
    config = RaveConfig(sample_rate=RATE, latents=8, causal=causal, net=NET, **changes)
    system = SystemConfig(codec=config).build().eval()
    with torch.no_grad():
        for name, parameter in system.codec.named_parameters():
            if name.endswith("gain"):
                parameter.mul_(2.2)
    system.codec.fit([0.3 * torch.randn(2, system.codec.channels, 8192)])
    return system


@pytest.fixture
def model():
    return Model(rave(), About(name="mine"), dtype="float32")


def sound(seconds=0.5, rate=RATE, channels=1):
    torch.manual_seed(1)
    return Audio(0.3 * torch.randn(channels, int(seconds * rate)), rate)


@pytest.mark.parametrize("block", [512, 1000, 2048, 8192])
def test_a_stream_is_the_whole_but_later(model, block):
    audio, stream = sound(1.2), Stream(model, block)
    report = Report(block / RATE)
    made = torch.cat(list(play(stream, cut(audio.samples, block), block, report)), -1)
    whole = model.system.codec.decode(model.encode(audio))[0]
    count = min(made.shape[-1] - stream.delay, whole.shape[-1]) - 512  # the whole one knows where the sound ends
    assert torch.allclose(made[:, stream.delay : stream.delay + count], whole[:, :count], atol=1e-5)
    assert made.shape[-1] >= audio.samples.shape[-1] and (made[:, : stream.delay] == 0).all()
    assert report.latency == pytest.approx((stream.delay + block + 16 * 33) / RATE)


def test_the_latency_told_is_the_latency_heard():
    """The filter bank alone, streamed: a click comes out as much later as told."""
    codec = rave().codec
    click = torch.zeros(1, 1, 4096)
    click[..., 1000] = 1
    heard = codec.pqmf.inverse(codec.pqmf(click))
    assert heard.abs().argmax() - 1000 == filter_delay(codec)


def test_a_stream_keeps_no_more_and_more(model):
    stream, sizes = Stream(model, 512), []
    for block in cut(sound(4.0).samples, 512):
        stream(block)
        sizes.append(stream.waiting.numel() + sum(t.numel() for t in (*stream.encoding[0], *stream.decoding[0]))
                     if stream.decoding else 0)
    assert max(sizes[len(sizes) // 2 :]) <= max(sizes[: len(sizes) // 2])


def test_latents_are_scaled_moved_and_mixed(model):
    latents = torch.ones(1, 8, 3)
    edited = LatentEdit(scale={0: 2.0, -1: 3.0}, bias={1: 0.5})(latents)
    assert edited[0, :3, 0].tolist() == [6.0, 3.5, 3.0] and (latents == 1).all()
    noisy = LatentEdit(noise=0.1)
    assert torch.equal(noisy(latents)[..., 1:], noisy(latents[..., 1:], start=1))
    audio = sound()
    assert torch.allclose(transfer(model, audio).samples, model.reconstruct(audio).samples, atol=1e-6)
    assert not torch.allclose(transfer(model, audio, LatentEdit(bias={0: 2.0})).samples, transfer(model, audio).samples)
    other = Audio(-audio.samples.flip(-1), RATE)
    at = [interpolate(model, audio, other, mix).samples for mix in (0.0, 0.5, 1.0)]
    length = at[0].shape[-1]
    assert torch.allclose(at[0], model.decode(model.encode(audio)).samples[:, :length], atol=1e-6)
    assert torch.allclose(at[2], model.decode(model.encode(other)).samples[:, :length], atol=1e-6)
    assert not torch.allclose(at[1], at[0])


def test_fidelity_chooses_how_many_latents(model):
    kept = keep_fidelity(model, 0.5)
    assert kept < 8 and model.encode(sound()).shape[1] == kept
    with pytest.raises(UserError, match="no 7"):
        LatentEdit(scale={7: 1.0}).check(model)


def test_what_cannot_be_is_refused(model):
    toy = Model(toy_system(), About(name="toy"))
    with pytest.raises(UserError, match="use a RAVE"):
        Stream(toy, 512)
    with pytest.raises(UserError, match="no meaning"):
        keep_fidelity(toy, 0.9)
    with pytest.raises(UserError, match="use a v3"):
        transfer(model, sound(), style=sound())


@pytest.fixture
def folder(tmp_path):
    save_model(rave(), tmp_path / "mine", About(name="mine"))
    soundfile.write(tmp_path / "in.wav", sound(0.7, 22_050).samples.T.numpy(), 22_050)
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return exit_.value.code


def test_the_command_transfers_and_says_that_it_resamples(folder, capsys):
    assert run("transfer", folder / "mine", folder / "in.wav", "-o", folder / "out.wav", "--scale", "all=0.5") == 0
    assert "resampled from 22050 to 16000 Hz" in capsys.readouterr().err
    made = soundfile.info(folder / "out.wav")
    assert made.samplerate == RATE and made.frames == pytest.approx(0.7 * RATE, abs=1)


def test_the_command_streams_and_reports(folder, capsys):
    words = ("transfer", folder / "mine", folder / "in.wav", "-o", folder / "out.wav", "--stream", "--block", 512)
    assert run(*words) == 0
    said = capsys.readouterr().err
    assert re.search(r"latency \d+ ms.* 22 blocks", said) and "overruns: " in said


def test_stdin_goes_to_stdout(folder, monkeypatch, capsysbinary):
    import io
    import sys

    samples = sound(0.3).samples.numpy().astype(np.float32)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(samples.T.tobytes())))
    assert run("transfer", folder / "mine", "-", "-o", "-", "--stream", "--dtype", "float32") == 0
    made = np.frombuffer(capsysbinary.readouterr().out, np.float32)
    assert len(made) == -(-samples.size // 2048) * 2048
    assert run("transfer", folder / "mine", "-", "-o", "-") == 2
    assert run("transfer", folder / "mine", folder / "in.wav", "-o", folder / "o.wav", "--scale", "first=2") == 2
