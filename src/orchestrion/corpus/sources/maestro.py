"""MAESTRO v2 and v3 (Hawthorne et al. 2019): recordings, MIDI or both, with a table and an official split."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from orchestrion.corpus.sources.source import AUDIO, MIDI, Item, Source, ending
from orchestrion.corpus.store import Store
from orchestrion.errors import UserError

COLUMNS = ("midi_filename", "audio_filename", "split", "canonical_composer", "canonical_title", "year")


class Maestro(Source):
    kind, title, licence = "maestro", "MAESTRO", "CC BY-NC-SA 4.0"

    @classmethod
    def recognises(cls, store: Store) -> bool:
        return bool(tables(store))

    @cached_property
    def table(self) -> dict[str, dict[str, str]]:
        """The table's rows by the performance's file name without its ending (`2018/MIDI-…wav--1`)."""
        name = tables(self.store)[0]
        try:
            text = self.store.text(name)
            rows = from_json(text) if ending(name) == ".json" else list(csv.DictReader(io.StringIO(text)))
            named = {str(PurePosixPath(row["midi_filename"]).with_suffix("")): row for row in rows}
            if any(row["split"] not in ("train", "validation", "test") for row in rows):
                raise ValueError("a split that is none of train, validation, test")
        except (csv.Error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"MAESTRO's table {name} in {self.store.address} can't be read "
                f"({type(error).__name__}: {error}): download it again"
            ) from error
        return dict(sorted(named.items()))

    @cached_property
    def root(self) -> str:
        """The folder of the table within the store, with its slash: `maestro-v3.0.0/`."""
        return tables(self.store)[0].rpartition("maestro-v")[0]

    def pieces(self) -> Sequence[str]:
        return list(self.table)

    def item(self, piece: str) -> Item:
        row = self.table[piece]
        recording, notes = (self.root + row.get(column, "") for column in ("audio_filename", "midi_filename"))
        here = self.store.sizes
        if recording not in here and notes not in here:
            raise UserError("listed in MAESTRO's table, but its files are missing")
        facts = {"composer": row["canonical_composer"], "title": row["canonical_title"], "year": row["year"]}
        return Item(
            f"maestro/{piece}",
            recording if recording in here else None,
            notes if notes in here else None,
            row["split"],
            facts,
            true_tempo=False,
        )

    def strays(self) -> Mapping[str, str]:
        listed = {
            self.root + row.get(column, "")
            for row in self.table.values()
            for column in ("audio_filename", "midi_filename")
        }
        return {
            name: "not in MAESTRO's table"
            for name in self.store.sizes
            if ending(name) in AUDIO | MIDI and name not in listed
        }


def tables(store: Store) -> list[str]:
    """`maestro-v3.0.0.csv` or `.json`, the CSV first, nearest to the root first."""
    found = [
        name
        for name in store.sizes
        if PurePosixPath(name).name.startswith("maestro-v") and ending(name) in (".csv", ".json")
    ]
    return sorted(found, key=lambda name: (ending(name), name.count("/"), name))


def from_json(text: str) -> list[dict[str, str]]:
    """Rows of the JSON table: version 3 has {column: {row: value}}, version 2 a list of rows."""
    data = json.loads(text)
    if isinstance(data, list):
        return [{column: str(value) for column, value in row.items()} for row in data]
    return [{column: str(data[column][row]) for column in COLUMNS if column in data} for row in data["midi_filename"]]
