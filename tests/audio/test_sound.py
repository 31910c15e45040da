import math

import pytest
import soundfile
import torch

from orchestrion import Audio
from orchestrion.audio.files import Writer, info, read_tags
from orchestrion.audio.levels import from_decibels, true_peak
from orchestrion.errors import UserError

RECORD = {"software": "orchestrion 0.1.0", "model": "piano", "seed": 3, "prompt": {"text": "für Élise"},
          "settings": {"steps": 12}, "command": "orchestrion generate piano --seed 3"}


def sine(frequency=440.0, seconds=1.0, sample_rate=44_100, amplitude=0.5, channels=2):
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    wave = (amplitude * torch.sin(2 * math.pi * frequency * time)).float()
    return Audio(wave.repeat(channels, 1), sample_rate, RECORD)


@pytest.mark.parametrize("ending, tolerance", [("wav", 1 / 32768), ("flac", 1 / 32768), ("ogg", 0.02), ("mp3", 0.02)])
def test_a_file_gives_back_the_sound_and_how_it_was_made(tmp_path, ending, tolerance):
    audio = sine()
    back = Audio.read(audio.write(tmp_path / f"a.{ending}"))
    assert back.provenance == RECORD
    assert (back.sample_rate, back.channels) == (44_100, 2)
    assert back.samples.shape == audio.samples.shape
    assert (back.samples - audio.samples)[:, 2000:-2000].abs().max() <= tolerance
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{ending}"]


def test_other_tools_see_the_command_in_a_wavs_riff_info(tmp_path):
    sine().write(tmp_path / "a.wav")
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        assert "orchestrion generate piano --seed 3" in file.comment


def test_files_without_our_tags_have_no_provenance(tmp_path):
    Audio(torch.zeros(1, 100), 8000).write(tmp_path / "a.flac")
    assert read_tags(tmp_path / "a.flac") is None
    assert Audio.read(tmp_path / "a.flac").provenance is None


def test_a_part_of_a_file_is_that_part(tmp_path):
    audio = sine()
    audio.write(tmp_path / "a.flac")
    part = Audio.read(tmp_path / "a.flac", start=0.25, duration=0.5)
    assert (part.samples - audio.samples[:, 11_025:33_075]).abs().max() < 1e-4
    assert Audio.read(tmp_path / "a.flac", start=0.9, duration=5).samples.shape[1] == 4410
    with pytest.raises(UserError, match=r"lasts 1.00 s; it can't be read from 2 s"):
        Audio.read(tmp_path / "a.flac", start=2)


@pytest.mark.parametrize("ending, ceiling", [("wav", -0.3), ("flac", -0.3), ("ogg", -1.0), ("mp3", -1.0)])
def test_written_audio_never_clips(tmp_path, ending, ceiling):
    back = Audio.read(sine(amplitude=4.0).write(tmp_path / f"loud.{ending}"))
    assert true_peak(back.samples) < 1
    assert true_peak(back.samples) == pytest.approx(from_decibels(ceiling), abs=0.06)
    middle = back.samples[0, 10_000:11_000]
    assert (middle.abs() > 0.99 * middle.abs().max()).float().mean() < 0.12  # a sine's crest, not a flat top


def test_a_stream_of_blocks_is_the_same_file_as_the_whole(tmp_path):
    audio = sine(amplitude=2.0)
    audio.write(tmp_path / "whole.wav")
    with Writer(tmp_path / "blocks.wav", 44_100, 2, RECORD) as writer:
        for block in audio.samples.split(1234, dim=-1):
            writer.write(block)
    assert (tmp_path / "blocks.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_a_peak_on_the_joint_of_two_blocks_is_seen(tmp_path):
    wave = torch.zeros(1, 2000)
    wave[0, 999:1001] = 0.99  # between them the sound reaches 1.26
    with Writer(tmp_path / "a.wav", 44_100, 1) as writer:
        for block in wave.split(1000, dim=-1):
            writer.write(block)
    assert writer.meter.peak() == pytest.approx(true_peak(wave)) and true_peak(wave) > 1.2


def test_stopping_half_way_leaves_the_old_file(tmp_path):
    sine().write(tmp_path / "a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path / "a.wav", 44_100, 1) as writer:
        writer.write(torch.zeros(1, 1000))
        raise KeyboardInterrupt
    assert (tmp_path / "a.wav").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_long_audio_is_written_whole(tmp_path):
    """Longer than the coder's block, and than what is kept in memory (mono, 7 minutes)."""
    noise = 0.1 * torch.randn(1, 44_100 * 420)
    Audio(noise, 44_100).write(tmp_path / "a.flac")
    assert info(tmp_path / "a.flac").seconds == 420
    assert (Audio.read(tmp_path / "a.flac", start=419).samples - noise[:, -44_100:]).abs().max() < 1e-4


@pytest.mark.parametrize("make, sentence", [
    (lambda p: Audio.read(p / "missing.wav"), "there is no file"),
    (lambda p: Audio.read(p), "is a folder, and one audio file is wanted"),
    (lambda p: (p / "a.wav").write_text("hello") and Audio.read(p / "a.wav"), "can't be read as audio"),
    (lambda p: soundfile.write(p / "n.wav", [0.0, math.nan], 8000, "FLOAT") or Audio.read(p / "n.wav"), "no finite"),
    (lambda p: sine().write(p / "a.m4a"), "audio is written as .wav, .flac, .ogg, .mp3, not '.m4a'"),
    (lambda p: sine().write(p / "noending"), "not 'without ending'"),
    (lambda p: sine(channels=6).write(p / "a.mp3"), "can't hold 6 channels"),
    (lambda p: sine(sample_rate=96_000).write(p / "a.mp3"), "can't hold 96000 Hz"),
    (lambda p: (p / "file").write_text("x") and sine().write(p / "file" / "a.wav"), "can't be written"),
])
def test_files_that_can_not_be_are_refused_in_one_sentence(tmp_path, make, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)


def test_resampling_keeps_a_tone_and_drops_what_can_not_be_held():
    kept = sine(1000.0).resample(16_000)
    assert kept.samples.shape == (2, 16_000)
    assert (kept.samples - sine(1000.0, sample_rate=16_000).samples)[:, 500:-500].abs().max() < 1e-3
    assert sine(10_000.0).resample(16_000).samples[:, 500:-500].abs().max() < 1e-3


def test_channels_are_mixed_and_copied():
    stereo = Audio(torch.tensor([[1.0, 0.0], [0.0, 0.5]]), 8000)
    assert stereo.to_channels(1).samples.tolist() == [[0.5, 0.25]]
    assert stereo.to_channels(1).to_channels(2).samples.tolist() == [[0.5, 0.25]] * 2
    surround = Audio(torch.eye(6), 8000).to_channels(2)
    left, right = surround.samples
    assert left[0] == right[1] and left[1] == right[0] == 0  # left and right stay apart
    assert left[2] == right[2] == pytest.approx(left[0] * 0.5**0.5)  # the centre goes to both at -3 dB
    assert left[3] == right[3] == 0  # the low-frequency channel is left out
    with pytest.raises(UserError, match="at least one channel"):
        stereo.to_channels(0)


def test_a_picture_shows_the_tone_and_nothing_else(tmp_path):
    from orchestrion.audio.plots import decibel_spectrogram

    frequencies, level = decibel_spectrogram(sine(440.0, seconds=3.0))
    line = level[:, level.shape[1] // 2]
    assert frequencies[line.argmax()] == pytest.approx(440.0, rel=0.01)
    assert (line > -40).sum() <= 7
    assert sine().plot(tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_notebooks_get_a_player():
    assert sine(seconds=0.1)._repr_html_().startswith('<audio controls src="data:audio/wav;base64,UklGR')
