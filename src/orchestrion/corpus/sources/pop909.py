"""POP909 (Wang et al. 2020): pop songs as piano arrangements, with key and beat annotations.

`POP909/NNN/NNN.mid` has the tracks MELODY, BRIDGE and PIANO; `index.xlsx` beside names song and artist.
"""

import re
import zipfile
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from xml.etree import ElementTree

from orchestrion.corpus.sources.source import Item, Source
from orchestrion.corpus.store import Store
from orchestrion.errors import UserError

PIECE = re.compile(r"(?:.*/)?(\d{3})/\1\.mid")
TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Pop909(Source):
    kind, title, licence = "pop909", "POP909", "MIT (arrangements; the songs remain their authors')"

    @classmethod
    def recognises(cls, store: Store) -> bool:
        annotated = {name.rpartition("/")[0] for name in store.sizes if name.endswith("/beat_midi.txt")}
        return any(PIECE.fullmatch(name) and name.rpartition("/")[0] in annotated for name in store.sizes)

    @cached_property
    def files(self) -> dict[str, str]:
        """The songs' MIDI files by number; `versions/` folders hold drafts of the same songs."""
        found = (PIECE.fullmatch(name) for name in self.store.sizes)
        return {match[1]: match[0] for match in found if match}

    @cached_property
    def index(self) -> dict[str, dict[str, str]]:
        """Rows of index.xlsx by song number; empty where it is missing. Raises UserError where it is damaged."""
        sheets = [name for name in self.store.sizes if name.rpartition("/")[2] == "index.xlsx"]
        try:
            rows = read_sheet(self.store.read(sheets[0])) if sheets else []
        except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, IndexError, ValueError) as error:
            raise UserError(f"{sheets[0]} is damaged ({error}): take it from POP909 again, or remove it") from error
        return {row.get("song_id", "").zfill(3): row for row in rows}

    def pieces(self) -> Sequence[str]:
        return list(self.files)

    def item(self, piece: str) -> Item:
        notes = self.files[piece]
        folder = notes.rpartition("/")[0]
        row = self.index.get(piece, {})
        facts = {"genre": "pop", "song": row.get("name", ""), "singer": row.get("artist", "")}
        attributes: dict[str, float] = {}
        beats: list[float] = []
        if f"{folder}/beat_midi.txt" in self.store.sizes:
            beats = beats_of(self.store.text(f"{folder}/beat_midi.txt"))
        if f"{folder}/key_audio.txt" in self.store.sizes:
            attributes |= key_of(self.store.text(f"{folder}/key_audio.txt"))
        if row.get("num_beats_per_measure", "").isdigit():
            attributes["beats_per_bar"] = float(row["num_beats_per_measure"])
        return Item(f"pop909/{piece}", notes=notes, facts={k: v for k, v in facts.items() if v}, attributes=attributes,
                    beats=beats)


def beats_of(text: str) -> list[float]:
    """Seconds, from lines that begin with the time of a beat."""
    return sorted(float(line.split()[0]) for line in text.splitlines() if line.strip())


def key_of(text: str) -> dict[str, float]:
    """The key that lasts longest, from lines of start, end and key (`Gb:maj`)."""
    lasts: dict[str, float] = {}
    for line in text.splitlines():
        if len(fields := line.split()) == 3:
            lasts[fields[2]] = lasts.get(fields[2], 0.0) + float(fields[1]) - float(fields[0])
    if not lasts:
        return {}
    tonic, _, mode = max(lasts, key=lambda key: lasts[key]).partition(":")
    pitch = TONICS[tonic[0]] + tonic.count("#") - tonic.count("b")
    return {"key": float(pitch % 12), "mode": float(mode.startswith("maj")), "key_clarity": 1.0}


def read_sheet(data: bytes) -> list[dict[str, str]]:
    """The rows of the first sheet of an .xlsx, by the names in its first row."""
    with zipfile.ZipFile(BytesIO(data)) as book:
        shared: list[str] = []
        if "xl/sharedStrings.xml" in book.namelist():
            strings = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
            shared = ["".join(text.itertext()) for text in strings.iter(f"{SHEET}si")]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    rows = []
    for row in sheet.iter(f"{SHEET}row"):
        cells = {}
        for cell in row.iter(f"{SHEET}c"):
            column = re.sub(r"\d", "", cell.get("r", ""))
            text = "".join(cell.itertext())
            cells[column] = shared[int(text)] if cell.get("t") == "s" else text
        rows.append(cells)
    names, rest = (rows[0], rows[1:]) if rows else ({}, [])
    return [{names[c]: text for c, text in row.items() if c in names} for row in rest]
