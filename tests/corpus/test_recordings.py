import io

import numpy as np
import pytest
from scores import encoded, tone

from orchestrion.corpus.recordings import (
    CEILING,
    envelope,
    fit,
    fold,
    limit,
    read_recording,
    sound_attributes,
)
from orchestrion.errors import UserError


def read(data):
    return read_recording(io.BytesIO(data))


FORMS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("FLAC", None),
    ("AIFF", None),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", None),
    ("RF64", None),
    ("CAF", None),
]


@pytest.mark.parametrize(("form", "subtype"), FORMS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_read(form, subtype, channels):
    audio, rate = read(encoded(tone(2.0, 48_000, channels=channels), 48_000, form, subtype))
    assert rate == 48_000 and audio.shape[1] == channels
    assert len(audio) / rate == pytest.approx(2.0, abs=0.1)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize(("form", "subtype"), [f for f in FORMS if f[0] != "MP3"])
def test_a_cut_off_file_is_told(form, subtype):
    data = encoded(np.random.default_rng(0).uniform(-0.5, 0.5, (96_000, 2)), 48_000, form, subtype)
    with pytest.raises(UserError, match=r"truncated|unreadable|empty"):
        read(data[: int(len(data) * 0.6)])


@pytest.mark.parametrize("form", ["WAV", "FLAC", "AIFF", "OGG"])
def test_a_cut_off_file_is_called_truncated(form):
    data = encoded(tone(4.0, 44_100), 44_100, form)
    with pytest.raises(UserError, match="truncated"):
        read(data[: int(len(data) * 0.6)])


def test_a_cut_off_mp3_is_told_by_its_header():
    data = bytearray(encoded(tone(4.0, 44_100), 44_100, "MP3"))
    if b"Xing" not in data[:512] and b"Info" not in data[:512]:
        pytest.skip("this libsndfile writes mp3 without an Info header")
    with pytest.raises(UserError, match="truncated"):
        read(bytes(data[: len(data) // 2]))


def test_a_wav_from_a_pipe_states_no_length_and_is_read():
    data = bytearray(encoded(tone(1.0)))
    place = data.find(b"data")
    data[place + 4 : place + 8] = b"\xff" * 4
    assert len(read(bytes(data))[0]) == 8000


BAD = {
    "empty file": b"",
    "not audio": b"this is a letter, and no music is in it" * 50,
    "NaN": encoded(np.full((800, 1), np.nan), subtype="FLOAT"),
    "infinite": encoded(np.append(tone(0.1), np.inf), subtype="FLOAT"),
    "silent": encoded(np.zeros((8000, 2))),
    "no samples": encoded(np.zeros((0, 1))),
    "no sound chunk": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_files_are_refused_with_their_reason(reason):
    with pytest.raises(UserError, match=reason):
        read(BAD[reason])


def test_folding_keeps_what_is_common_and_never_clips():
    rng = np.random.default_rng(0)
    for count in range(1, 9):
        for channels in (1, 2):
            ones = fold(np.ones((4, count), np.float32), channels)
            assert ones.shape == (4, channels)
            np.testing.assert_allclose(ones, 1.0, rtol=1e-5)
            noise = rng.uniform(-1, 1, (999, count)).astype(np.float32)
            assert np.abs(fold(noise, channels)).max() <= 1.0


def test_surround_goes_where_it_belongs():
    left, right, centre, bass, behind_left, _ = (fold(row[None], 2)[0] for row in np.eye(6, dtype=np.float32))
    assert left[0] > 0 and left[1] == 0 and right[1] > 0 and right[0] == 0
    assert centre[0] == centre[1] > 0 and not bass.any()
    assert behind_left[0] / left[0] == pytest.approx(0.7071) and behind_left[1] == 0


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000, 96_000])
def test_resampling_keeps_length_pitch_and_level(rate):
    audio = fit(tone(1.0, rate, 440), rate, 44_100, 2)
    assert audio.shape == (44_100, 2)
    middle = audio[4410:-4410, 0]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * 44_100 / len(middle) == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(0.5, rel=0.01)


def true_peak(audio, rate=44_100):
    import soxr

    return np.abs(soxr.resample(audio, rate, 8 * rate, "VHQ")).max()


def test_the_limiter_leaves_quiet_music_alone_bit_for_bit():
    audio = tone(1.0, 44_100, level=0.9, channels=2)
    np.testing.assert_array_equal(limit(audio, 44_100), audio)


def test_the_limiter_holds_true_peaks_between_samples():
    time = np.arange(44_100)
    hidden = 1.3 * np.sin(np.pi / 2 * time + np.pi / 4)[:, None].astype(
        np.float32
    )  # samples at 0.92, peak 1.3
    assert np.abs(hidden).max() < CEILING < true_peak(hidden)
    assert true_peak(limit(hidden, 44_100)[2000:-2000]) < CEILING * 1.01


def test_the_limiter_works_only_around_the_peak_and_on_both_channels_alike():
    audio = tone(2.0, 44_100, 220, channels=2, level=0.4)
    audio[44_100:44_110] *= 5
    made = limit(audio, 44_100)
    assert np.abs(made).max() <= CEILING
    np.testing.assert_array_equal(made[:38_000], audio[:38_000])
    np.testing.assert_array_equal(made[50_000:], audio[50_000:])
    ratio = made[40_000:48_000] / np.where(audio[40_000:48_000] == 0, 1, audio[40_000:48_000])
    loud = np.abs(audio[40_000:48_000]).min(1) > 0.05
    np.testing.assert_allclose(ratio[loud, 0], ratio[loud, 1], rtol=1e-3)
    assert np.abs(np.diff(ratio[loud, 0])).max() < 0.05  # no step in the gain


def test_the_envelope_is_the_larger_channel():
    quiet, loud = tone(0.5, 44_100, level=0.1), tone(0.5, 44_100, level=0.3)
    np.testing.assert_array_equal(envelope(np.hstack([quiet, loud]), 1.0), np.abs(loud[:, 0]))


def test_level_and_brightness_of_tones():
    low, high = (sound_attributes(tone(1.0, 44_100, hertz), 44_100) for hertz in (300, 3000))
    assert low["brightness"] == pytest.approx(300, rel=0.05) and high["brightness"] == pytest.approx(
        3000, rel=0.05
    )
    assert low["level"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
    assert np.isfinite(sound_attributes(tone(0.01), 8000)["brightness"])
