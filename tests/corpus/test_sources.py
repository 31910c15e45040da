"""Each collection's layout, in miniature: what is found, under which key, with which split and facts."""

import csv
import io
import json
import pickle
import zipfile

import pytest
from scores import encoded, laid_out, scale, tone, zipped

from orchestrion.corpus.sources import SOURCES, find_source
from orchestrion.corpus.sources.pop909 import beats_of, key_of, read_sheet
from orchestrion.corpus.splits import split_of
from orchestrion.corpus.store import Store
from orchestrion.errors import UserError
from orchestrion.tempo import tempo_of


def sheet(rows) -> bytes:
    """A minimal .xlsx with its strings in line."""
    body = "".join(
        f'<row r="{r}">'
        + "".join(
            f'<c r="{"ABCDEF"[c]}{r}" t="inlineStr"><is><t>{text}</t></is></c>' for c, text in enumerate(row)
        )
        + "</row>"
        for r, row in enumerate(rows, 1)
    )
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as book:
        book.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{space}"><sheetData>{body}</sheetData></worksheet>',
        )
    return data.getvalue()


def pop909():
    """Two songs, one without annotations of key, and a draft that isn't a song."""
    index = [
        ("song_id", "name", "artist", "modify_times", "num_beats_per_measure"),
        ("001", "歌", "Anna", "1", "2"),
    ]
    beats = "\n".join(f"{0.05 + i * 60 / 96} {float(i % 2 == 0)} 0.0" for i in range(40))
    return {
        "POP909/001/001.mid": scale(bpm=90),
        "POP909/001/beat_midi.txt": beats.encode(),
        "POP909/001/key_audio.txt": b"0.0\t9.0\tC:maj\n9.0\t60.0\tGb:min\n",
        "POP909/001/chord_midi.txt": b"0 1 N\n",
        "POP909/001/versions/001-v1.mid": scale(bpm=91),
        "POP909/849/849.mid": scale(bpm=100),
        "POP909/849/beat_midi.txt": b"",
        "POP909/index.xlsx": sheet(index),
        "README.md": b"read me",
        "LICENSE": b"MIT",
    }


COLUMNS = [
    "canonical_composer",
    "canonical_title",
    "split",
    "year",
    "midi_filename",
    "audio_filename",
    "duration",
]
ROWS = [
    ["Franz Schubert", "Sonata, D. 959", "test", "2018", "2018/a--1.midi", "2018/a--1.wav", "4.0"],
    ["Claude Debussy", "Clair de lune", "validation", "2004", "2004/b.midi", "2004/b.wav", "4.0"],
    ["Frédéric Chopin", "Étude", "train", "2004", "2004/c.midi", "2004/c.wav", "4.0"],
]


def maestro(table="csv", audio=True, notes=True, version=3):
    root = "maestro-v3.0.0/"
    if table == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([COLUMNS, *ROWS])
        files = {root + "maestro-v3.0.0.csv": text.getvalue().encode()}
    else:
        columns = {name: {str(i): row[c] for i, row in enumerate(ROWS)} for c, name in enumerate(COLUMNS)}
        rows = [dict(zip(COLUMNS, row)) for row in ROWS]
        files = {root + "maestro-v3.0.0.json": json.dumps(columns if version == 3 else rows).encode()}
    for i, row in enumerate(ROWS):
        if notes:
            files[root + row[4]] = scale(bpm=100 + 10 * i, root=i)
        if audio:
            files[root + row[5]] = encoded(tone(1.0, hertz=300 + 50 * i, channels=2))
    return files | {root + "LICENSE": b"", root + "README": b""}


def adl():
    return {
        "adl-piano-midi/Jazz/Bebop/Thelonious Monk/Round Midnight.mid": scale(),
        "adl-piano-midi/Classical/Romantic/Schumann/Träumerei.mid": scale(bpm=66),
        "adl-piano-midi/Rock/cover.jpg": b"\xff\xd8",
    }


def source(where, files, name="source"):
    return find_source(Store(laid_out(where / name, files)))


def items(found):
    return {item.key: item for item in map(found.item, found.pieces())}


def test_pop909(tmp_path):
    found = source(tmp_path, pop909())
    assert found.kind == "pop909" and "MIT" in found.licence
    pieces = items(found)
    assert set(pieces) == {"pop909/001", "pop909/849"}
    first = pieces["pop909/001"]
    assert tempo_of(first.beats) == pytest.approx(96)  # the beats say so, against the file's 90
    assert (first.attributes["key"], first.attributes["mode"]) == (6, 0)  # G flat minor lasts longer
    assert first.attributes["beats_per_bar"] == 2
    assert first.facts == {"genre": "pop", "song": "歌", "singer": "Anna"}
    assert dict(pieces["pop909/849"].attributes) == {}


def test_a_damaged_index_is_one_sentence(tmp_path):
    found = source(tmp_path, pop909() | {"POP909/index.xlsx": b"no sheet"})
    with pytest.raises(UserError, match=r"index\.xlsx is damaged"):
        items(found)


def test_pop909s_annotations():
    assert beats_of("0.5 1.0\n1.5 1.0\n1.0 0.0\n") == [0.5, 1.0, 1.5]
    assert [key_of(f"0 1 {name}")["key"] for name in ("C:maj", "Cb:maj", "F#:min", "Bb:min")] == [
        0,
        11,
        6,
        10,
    ]
    assert beats_of("") == [] and key_of("") == {}
    assert read_sheet(sheet([("a", "b"), ("1", "2")])) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(("table", "version"), [("csv", 3), ("json", 3), ("json", 2)])
def test_maestro_keeps_its_split(tmp_path, table, version):
    pieces = items(source(tmp_path, maestro(table, version=version)))
    assert {key: item.split for key, item in pieces.items()} == {
        "maestro/2018/a--1": "test",
        "maestro/2004/b": "validation",
        "maestro/2004/c": "train",
    }
    assert pieces["maestro/2018/a--1"].facts["composer"] == "Franz Schubert"
    assert not pieces["maestro/2018/a--1"].true_tempo


def test_maestro_is_heard_as_recorded_and_rendered_where_there_is_only_midi(tmp_path):
    both = items(source(tmp_path, maestro(), "both"))["maestro/2004/b"]
    assert both.recording == "maestro-v3.0.0/2004/b.wav" and both.notes == "maestro-v3.0.0/2004/b.midi"
    notes = items(source(tmp_path, maestro(audio=False), "notes"))["maestro/2004/b"]
    assert notes.recording is None and notes.notes


def test_maestro_says_what_is_missing_and_what_is_too_much(tmp_path):
    files = maestro()
    del files["maestro-v3.0.0/2004/b.wav"], files["maestro-v3.0.0/2004/b.midi"]
    found = source(tmp_path, files | {"maestro-v3.0.0/2004/other.wav": b""})
    with pytest.raises(UserError, match="missing"):
        found.item("2004/b")
    assert found.strays() == {"maestro-v3.0.0/2004/other.wav": "not in MAESTRO's table"}


def test_a_damaged_maestro_table_is_one_sentence(tmp_path):
    for name, text in (("csv", b"a,b\n1,2\n"), ("json", b"{")):
        found = source(tmp_path, {f"maestro-v3.0.0.{name}": text}, name)
        with pytest.raises(UserError, match="can't be read"):
            found.pieces()


def test_adl_knows_genre_and_artist_from_the_path(tmp_path):
    found = source(tmp_path, adl())
    piece = items(found)["adl/Jazz/Bebop/Thelonious Monk/Round Midnight"]
    assert piece.facts == {
        "genre": "Jazz",
        "subgenre": "Bebop",
        "artist": "Thelonious Monk",
        "title": "Round Midnight",
    }
    assert found.strays() == {"adl-piano-midi/Rock/cover.jpg": "not MIDI"}
    inside = {name.removeprefix("adl-piano-midi/"): data for name, data in adl().items()}
    again = find_source(Store(laid_out(tmp_path / "adl-piano-midi", inside)))
    assert items(again).keys() == items(found).keys()


def test_files_of_ones_own(tmp_path):
    found = source(
        tmp_path, {"a/song.wav": b"", "a/song.txt": b"a caption\n", "b.MID": b"", "note.txt": b"?"}
    )
    pieces = items(found)
    assert set(pieces) == {"audio/a/song.wav", "midi/b.MID"}
    assert pieces["audio/a/song.wav"].facts == {"caption": "a caption"}
    assert list(found.strays()) == ["note.txt"]


@pytest.mark.parametrize("files", [pop909, maestro, adl])
def test_a_zip_gives_what_its_folder_gives(tmp_path, files):
    folder, archive = source(tmp_path, files()), find_source(Store(zipped(tmp_path / "x.zip", files())))
    assert items(folder) == items(archive) and folder.strays() == archive.strays()
    for name in folder.store.sizes:
        assert folder.store.read(name) == archive.store.read(name)


def test_any_file_system_that_fsspec_knows(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, data in adl().items():
        memory.pipe(f"/music/{name}", data)
    found = find_source(Store("memory://music"))
    assert found.kind == "adl" and len(items(found)) == 2
    assert found.store.read(found.pieces()[0])[:4] == b"MThd"


def test_a_store_travels_as_its_address(tmp_path):
    store = Store(zipped(tmp_path / "x.zip", adl()))
    assert store.sizes
    again = pickle.loads(pickle.dumps(store))
    assert again.sizes == store.sizes and again.name == "x"


def test_nothing_there_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 not whole")
    for name, words in (("nowhere", "there is nothing"), ("empty", "is empty"), ("bad.zip", "whole zip")):
        with pytest.raises(UserError, match=words):
            find_source(Store(tmp_path / name))
    with pytest.raises(UserError, match="neither audio"):
        source(tmp_path, {"letter.txt": b""})
    with pytest.raises(UserError, match="can't be opened"):
        find_source(Store("nosuch://x"))


def test_every_source_names_itself():
    kinds = [s.kind for s in SOURCES]
    assert len(set(kinds)) == len(kinds) and all(s.title and s.licence for s in SOURCES)


def test_splits_are_fixed_and_nine_to_one():
    counts = [split_of(f"pop909/{i:03d}") for i in range(1, 10_000)]
    assert counts.count("train") / len(counts) == pytest.approx(0.9, abs=0.01)
    assert counts.count("validation") / len(counts) == pytest.approx(0.05, abs=0.01)
    # the bundled models' corpus was split like this: these three must stay where they are
    assert [split_of(f"pop909/{n}") for n in ("001", "027", "081")] == ["train", "validation", "test"]
