"""The whole way from a collection to a corpus: nothing lost, nothing twice, nothing half-written."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scores import C_MAJOR, encoded, laid_out, midi, needs_fluidsynth, scale, tone, zipped
from test_sources import adl, maestro, pop909

from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.making import choose, file_name
from orchestrion.corpus.preparing import PrepareOptions, deaf_to_interrupts, prepare
from orchestrion.corpus.splits import split_of
from orchestrion.errors import UserError

RATE = 8000


def made(source, output, progress=None, **options):
    """Prepares with threads, which start faster than processes."""
    options = {"sample_rate": RATE, "channels": 1} | options
    with ThreadPoolExecutor(2) as executor:
        summary = prepare(source, output, PrepareOptions(**options), progress, executor)
    return summary, Corpus.open(output)


def rejected(folder):
    lines = (folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["source"]: line["reason"] for line in map(json.loads, lines)}


def sounds(count, seconds=0.5):
    return {f"{i:02d}.wav": encoded(tone(seconds, RATE, 200 + 20 * i)) for i in range(count)}


def test_a_folder_becomes_a_corpus(tmp_path):
    files = {
        "a/mono.wav": encoded(tone(1.0, 16_000), 16_000),
        "b/stereo.flac": encoded(tone(2.0, channels=2), form="FLAC"),
        "c.mp3": encoded(tone(1.5, 44_100, 300), 44_100, "MP3"),
        "d.ogg": encoded(tone(1.0, hertz=500), form="OGG"),
        "surround.wav": encoded(tone(1.0, channels=6, hertz=50)),
        "e.aiff": encoded(tone(1.0, hertz=700), form="AIFF"),
        "a/mono.txt": b"a tone",
        "short.wav": encoded(tone(0.02, hertz=900)),
    }
    summary, corpus = made(
        laid_out(tmp_path / "in", files), tmp_path / "out", channels=2, licence="CC0", name="tones"
    )
    assert (corpus.name, corpus.licence, corpus.sample_rate, corpus.channels) == ("tones", "CC0", RATE, 2)
    assert summary.pieces == len(corpus.pieces) == 7 and not summary.rejected
    for piece in corpus.pieces:
        info = sf.info(corpus.folder / piece.path)
        assert (info.samplerate, info.channels, info.subtype, info.format) == (RATE, 2, "PCM_16", "FLAC")
        assert piece.seconds == pytest.approx(info.frames / RATE)
        assert piece.split == split_of(piece.source) and piece.licence == "CC0" and len(piece.sha256) == 64
    by_source = {piece.source: piece for piece in corpus.pieces}
    assert by_source["audio/a/mono.wav"].caption == "a tone"
    assert by_source["audio/short.wav"].seconds == pytest.approx(0.02)
    assert json.loads((corpus.folder / "corpus.json").read_text())["hours"] == pytest.approx(
        corpus.hours, abs=1e-3
    )
    left = {path.name for path in corpus.folder.iterdir()}
    assert left == {"audio", "corpus.json", "manifest.jsonl", "rejected.jsonl"}


def test_every_bad_file_is_named_with_its_reason(tmp_path):
    good = encoded(tone(1.0))
    noise = np.random.default_rng(0).uniform(-1, 1, (RATE, 1))
    bad = {
        "cut.wav": (good[:5000], "truncated"),
        "empty.wav": (b"", "empty"),
        "letter.wav": (b"dear all" * 99, "audio"),
        "silent.flac": (encoded(np.zeros((RATE, 1)), form="FLAC"), "silent"),
        "none.wav": (encoded(np.zeros((0, 1))), "empty"),
        "nan.wav": (encoded(np.full((99, 1), np.nan), subtype="FLOAT"), "NaN"),
        "cover.jpg": (b"\xff\xd8", "not audio"),
        "cut.flac": (encoded(noise, form="FLAC")[:4000], "truncated"),
        "cut.mid": (scale()[:60], "truncated"),
        "no.mid": (b"oh", "not MIDI"),
    }
    files = {name: data for name, (data, _) in bad.items()} | {"good.wav": good}
    summary, corpus = made(laid_out(tmp_path / "in", files), tmp_path / "out")
    assert [piece.source for piece in corpus.pieces] == ["audio/good.wav"]
    reasons = {Path(key).name: reason for key, reason in rejected(tmp_path / "out").items()}
    assert reasons.keys() == bad.keys()
    for name, (_, words) in bad.items():
        assert words in reasons[name], name
    assert summary.rejected.total() == len(bad)
    assert len(list((tmp_path / "out" / "audio").iterdir())) == 1


def test_a_member_of_a_zip_that_fails_its_checksum_is_refused(tmp_path):
    archive = zipped(
        tmp_path / "x.zip", {"a.wav": encoded(tone(1.0)), "b.wav": encoded(tone(1.0, hertz=300))}
    )
    data = bytearray(archive.read_bytes())
    data[2000] ^= 0xFF
    archive.write_bytes(data)
    _, corpus = made(archive, tmp_path / "out")
    assert [piece.source for piece in corpus.pieces] == ["audio/b.wav"]
    assert "unreadable" in rejected(tmp_path / "out")["audio/a.wav"]


def test_the_same_sound_in_another_format_is_a_duplicate(tmp_path):
    sound = (tone(1.0) * 32768).astype(np.int16)
    files = {
        "a.wav": encoded(sound),
        "copy/b.flac": encoded(sound, form="FLAC"),
        "c.wav": encoded(tone(1.0, hertz=441)),
    }
    summary, corpus = made(laid_out(tmp_path / "in", files), tmp_path / "out")
    assert len(corpus.pieces) == 2 and summary.rejected == {"duplicate by content": 1}
    ((key, reason),) = rejected(tmp_path / "out").items()
    kept = reason.removeprefix("duplicate by content of ")
    assert {key, kept} == {"audio/a.wav", "audio/copy/b.flac"} and kept in {p.source for p in corpus.pieces}
    assert len(list((tmp_path / "out" / "audio").iterdir())) == 2
    for piece in corpus.pieces:  # and 16 bits at the corpus's own rate pass as they are
        if piece.source != "audio/c.wav":
            np.testing.assert_array_equal(sf.read(corpus.folder / piece.path, dtype="int16")[0], sound[:, 0])


def test_nothing_usable_is_one_sentence_and_no_corpus(tmp_path):
    with pytest.raises(UserError, match=r"no piece could be used, 1 were refused .*silent"):
        made(laid_out(tmp_path / "in", {"a.wav": encoded(np.zeros((80, 1)))}), tmp_path / "out")
    assert list(rejected(tmp_path / "out")) == ["audio/a.wav"]
    with pytest.raises(UserError, match="not a finished corpus"):
        Corpus.open(tmp_path / "out")


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 1},
        {"channels": 3},
        {"programs": (128,)},
        {"limit": 0},
        {"hours": -1.0},
        {"hours": float("nan")},
        {"workers": 0},
        {"soundfont": "/nowhere.sf2"},
        {"cluster": "tcp://127.0.0.1:9"},
    ],
)
@needs_fluidsynth
def test_options_that_cannot_be_meant_are_refused(tmp_path, options, monkeypatch):
    monkeypatch.setattr("orchestrion.corpus.preparing.CLUSTER_PATIENCE", 1)
    with pytest.raises(UserError):
        prepare(laid_out(tmp_path / "in", {"a.mid": scale()}), tmp_path / "out", PrepareOptions(**options))


def test_a_soundfont_that_is_not_there_is_refused_even_if_nothing_needs_it(tmp_path):
    with pytest.raises(UserError, match=r"there is no soundfont at /nowhere\.sf2"):
        prepare(laid_out(tmp_path / "in", sounds(1)), tmp_path / "out", PrepareOptions(soundfont="/nowhere.sf2"))
    assert not (tmp_path / "out").exists()


def test_a_caption_may_hold_any_character(tmp_path):
    files = sounds(1) | {"00.txt": "slow\u2028and\x85low".encode()}
    _, corpus = made(laid_out(tmp_path / "in", files), tmp_path / "out")
    assert len(corpus.pieces) == 1
    summary, _ = made(tmp_path / "in", tmp_path / "out")
    assert summary.made == 0


def test_a_folder_of_music_is_to_be_prepared_first(tmp_path):
    with pytest.raises(UserError, match=r"is not a corpus: .* `orchestrion prepare .*in -o"):
        Corpus.open(laid_out(tmp_path / "in", sounds(1)))


def test_processes_started_deaf_do_not_hear_an_interrupt(tmp_path):
    """A child that an interrupt reaches while it imports would print a traceback."""
    pytest.importorskip("fcntl")
    code = "import time; print(1, flush=True); time.sleep(0.5); print(2)"
    with deaf_to_interrupts():
        child = subprocess.Popen([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert child.stdout.readline() == "1\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate() == ("2\n", "")


def test_a_corpus_inside_its_source_or_unwritable_is_refused(tmp_path):
    source = laid_out(tmp_path / "in", sounds(1))
    for output, words in (
        (source / "out", "inside its own source"),
        (source / "00.wav" / "x", "inside|written"),
    ):
        with pytest.raises(UserError, match=words):
            made(source, output)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="can't be written"):
        made(source, tmp_path / "file" / "out")


def test_limit_and_hours_and_going_on_from_there(tmp_path):
    source = laid_out(tmp_path / "in", sounds(12))
    _, three = made(source, tmp_path / "out", limit=3)
    assert len(three.pieces) == 3 == len(list((tmp_path / "out" / "audio").iterdir()))
    times = {p.path: (three.folder / p.path).stat().st_mtime_ns for p in three.pieces}
    summary, five = made(source, tmp_path / "out", limit=5)
    assert len(five.pieces) == 5 and {p.source for p in three.pieces} < {p.source for p in five.pieces}
    assert summary.made == pytest.approx(1.0)  # two pieces of half a second
    assert all((five.folder / path).stat().st_mtime_ns == t for path, t in times.items())
    _, hours = made(source, tmp_path / "hours", hours=2.2 / 3600)
    assert len(hours.pieces) == 5
    assert [p.source for p in hours.pieces] == [p.source for p in five.pieces]
    summary, every = made(source, tmp_path / "out")
    assert len(every.pieces) == 12 and summary.made == pytest.approx(3.5)


def test_what_is_finished_when_the_run_is_stopped_is_kept(tmp_path):
    """The first piece is told of; three more are handed out by then, and are made while the user stops the run."""
    source, out = laid_out(tmp_path / "in", sounds(8)), tmp_path / "out"

    def stop(_):
        time.sleep(1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(source, out, stop, workers=2)
    lines = [json.loads(line) for line in (out / "prepare.part.jsonl").read_text().splitlines()]
    kept = {line["piece"]["path"] for line in lines if line.get("piece")}
    assert len(kept) == 4 and kept == {f"audio/{file.name}" for file in (out / "audio").glob("*.flac")}
    summary, corpus = made(source, out)
    assert len(corpus.pieces) == 8 and summary.made == pytest.approx(4 * 0.5)


def test_going_on_with_other_settings_is_refused(tmp_path):
    source = laid_out(tmp_path / "in", sounds(2))
    made(source, tmp_path / "out")
    with pytest.raises(UserError, match="another sample_rate"):
        made(source, tmp_path / "out", sample_rate=16_000)
    with pytest.raises(UserError, match="another source"):
        made(laid_out(tmp_path / "other", sounds(2)), tmp_path / "out")


def test_a_piece_whose_file_was_lost_is_made_again(tmp_path):
    source = laid_out(tmp_path / "in", sounds(3))
    _, corpus = made(source, tmp_path / "out")
    (corpus.folder / corpus.pieces[1].path).unlink()
    summary, again = made(source, tmp_path / "out")
    assert again.pieces == corpus.pieces and summary.made == pytest.approx(0.5)


def test_a_full_disk_stops_with_a_sentence_and_the_same_command_goes_on(tmp_path, monkeypatch):
    source = laid_out(tmp_path / "in", sounds(6))
    plain, written = Path.write_bytes, []

    def full(path, data):
        written.append(path)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        made(source, tmp_path / "out")
    monkeypatch.undo()
    assert rejected_or_none(tmp_path / "out") is None
    summary, corpus = made(source, tmp_path / "out")
    assert len(corpus.pieces) == 6 and not summary.rejected


def rejected_or_none(folder):
    return rejected(folder) if (folder / "rejected.jsonl").exists() else None


SCRIPT = """
import sys
from orchestrion.corpus.preparing import PrepareOptions, prepare
if __name__ == "__main__":
    prepare(sys.argv[1], sys.argv[2], PrepareOptions(sample_rate=8000, channels=1, workers=2))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for left-over workers in /proc")
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path):
    source = laid_out(tmp_path / "in", sounds(60, seconds=4.0) | {"zero.wav": b""})
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    out, journal = tmp_path / "out", tmp_path / "out" / "prepare.part.jsonl"
    process = subprocess.Popen([sys.executable, str(script), str(source), str(out)])
    wait_for(lambda: journal.exists() and len(journal.read_text().splitlines()) > 8, process)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert workers
    lines = journal.read_text().splitlines()
    assert len(lines) < 60
    with journal.open("a") as file:
        file.write('{"key": "audio/cut')  # as a kill in the middle of a line leaves it
    (out / "audio" / ".half.flac.x").mkdir()
    stamps = {path.name: path.stat().st_mtime_ns for path in (out / "audio").glob("*.flac")}
    finished = {
        Path(json.loads(line)["piece"]["path"]).name for line in lines[1:] if json.loads(line)["piece"]
    }
    with pytest.raises(UserError, match="not a finished corpus"):
        Corpus.open(out)
    made(source, out)
    assert all((out / "audio" / name).stat().st_mtime_ns == stamps[name] for name in finished)
    _, whole = made(source, tmp_path / "whole")
    for name in ("manifest.jsonl", "rejected.jsonl"):
        assert (out / name).read_text() == (tmp_path / "whole" / name).read_text()
    for piece in whole.pieces:
        assert (out / piece.path).read_bytes() == (whole.folder / piece.path).read_bytes()
    assert sorted(p.name for p in (out / "audio").iterdir()) == sorted(
        Path(p.path).name for p in whole.pieces
    )


def wait_for(happened, process=None, seconds=60):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end and (process is None or process.poll() is None)
        time.sleep(0.02)


def children(pid):
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def test_two_at_once_in_one_folder_are_refused(tmp_path):
    pytest.importorskip("fcntl")
    source = laid_out(tmp_path / "in", sounds(3))

    def again(_):
        with pytest.raises(UserError, match="another `prepare`"):
            made(source, tmp_path / "out")
        seen.append(True)

    seen: list[bool] = []
    _, corpus = made(source, tmp_path / "out", progress=again)
    assert seen and len(corpus.pieces) == 3


def test_a_dask_cluster_does_the_same_work(tmp_path):
    distributed = pytest.importorskip("distributed")
    source = laid_out(tmp_path / "in", sounds(6) | {"zero.wav": b""})
    _, here = made(source, tmp_path / "here")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        options = PrepareOptions(sample_rate=RATE, channels=1, cluster=cluster.scheduler_address)
        prepare(source, tmp_path / "there", options)
    assert Corpus.open(tmp_path / "there").pieces == here.pieces
    assert rejected(tmp_path / "there") == rejected(tmp_path / "here")


@needs_fluidsynth
def test_midi_becomes_sound_with_exact_attributes(tmp_path):
    source = zipped(
        tmp_path / "songs.zip",
        {
            "slow.mid": scale(bpm=60, bars=1),
            "fast.mid": scale(bpm=180, bars=4),
            "renamed.mid": scale(bpm=180, bars=4, program=4),
        },
    )
    summary, corpus = made(source, tmp_path / "out")
    assert summary.rejected == {"duplicate by content": 1}  # another program on file, the same notes
    slow = next(p for p in corpus.pieces if p.source == "midi/slow.mid")
    assert slow.attributes["tempo"] == pytest.approx(60, abs=0.01) and slow.attributes[
        "density"
    ] == pytest.approx(1)
    audio, _ = sf.read(corpus.folder / slow.path)
    onsets = [np.abs(audio[int((s + 0.02) * RATE) : int((s + 0.2) * RATE)]).max() for s in range(4)]
    before = [np.abs(audio[int((s - 0.1) * RATE) : int(s * RATE)]).max() for s in range(1, 4)]
    assert min(onsets) > 1.2 * max(before)


@needs_fluidsynth
def test_loud_stays_louder_than_soft_and_nothing_clips(tmp_path):
    chords = [[(i, 1, p, velocity) for i in range(4) for p in C_MAJOR] for velocity in (20, 127)]
    source = laid_out(
        tmp_path / "in", {"soft.mid": midi(chords[0]), "loud.mid": midi(chords[1], pedal=[(0, 4)])}
    )
    _, corpus = made(source, tmp_path / "out", sample_rate=44_100)
    level = {p.source: p.attributes["level"] for p in corpus.pieces}
    assert level["midi/loud.mid"] > level["midi/soft.mid"] + 15
    for piece in corpus.pieces:
        assert np.abs(sf.read(corpus.folder / piece.path)[0]).max() < 0.97
    assert json.loads((corpus.folder / "corpus.json").read_text())["gains"].keys() == {"0"}


@needs_fluidsynth
def test_programs_are_dealt_by_key(tmp_path):
    source = laid_out(tmp_path / "in", {f"{i}.mid": scale(bars=1, root=i) for i in range(6)})
    _, corpus = made(source, tmp_path / "out", programs=(0, 11))
    dealt = {p.source: p.attributes["program"] for p in corpus.pieces}
    assert dealt == {key: choose(key, (0, 11)) for key in dealt} and set(dealt.values()) == {0, 11}
    assert any("vibraphone" in p.caption.lower() for p in corpus.pieces if p.attributes["program"] == 11)


@needs_fluidsynth
@pytest.mark.parametrize(("files", "count"), [(pop909, 2), (maestro, 3), (adl, 2)])
def test_the_collections_whole(tmp_path, files, count):
    _, corpus = made(zipped(tmp_path / "x.zip", files()), tmp_path / "out")
    assert len(corpus.pieces) == count
    kind = corpus.pieces[0].source.partition("/")[0]
    if kind == "maestro":
        assert sorted(p.split for p in corpus.pieces) == ["test", "train", "validation"]
        assert all(p.seconds == pytest.approx(1.0) and p.attributes["density"] > 0 for p in corpus.pieces)
    if kind == "pop909":
        first = corpus.pieces[0]
        assert first.attributes["tempo"] == pytest.approx(96) and first.attributes["key"] == 6
        assert np.allclose(np.diff(first.beats), 60 / 96, atol=2e-3)  # where the notes strike
        assert first.facts["song"] == "歌" and "MIT" in corpus.licence


def test_file_names_are_safe_readable_and_different():
    assert file_name("pop909/001").startswith("001-")
    assert file_name("a/x.wav") != file_name("b/x.wav") != file_name("b/x.flac")
    for key in (
        "audio/../../etc/passwd",
        "audio/" + "é" * 300,
        "adl/Mr. Big",
        "audio/.hidden",
        "midi/音.mid",
    ):
        name = file_name(key)
        assert "/" not in name and name[0] != "." and len(name) < 100 and name.isascii()


def test_import_stays_light():
    code = "import sys, orchestrion.corpus.making; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "False"  # each worker imports this
