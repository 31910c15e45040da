"""Caption tables: a CSV, TSV or JSON-lines file that says of many sounds what is heard.

Known by its columns, whatever the file is called: one for the sound (`file`, `file_name`, `filename`, `path`, `audio`)
and one or more for its captions (`caption`, `caption_1`, …, `text`, `description`); so the tables of Hugging Face's
AudioFolder and of Clotho work as they are. Names are relative to the table; where they lack their ending, it is found.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from orchestrion.corpus.store import Store
from orchestrion.errors import UserError

ENDINGS = (".csv", ".tsv", ".jsonl")
SOUND = ("file_name", "filename", "file", "path", "audio")
CAPTION = re.compile(r"(caption|text|description)s?(_?\d+)?")
NO_TABLE = f"no captions in it: a table has a column for the sound ({', '.join(SOUND)}) and one named caption"


@dataclass
class Tables:
    """captions: by the sound's name in the store. files: the tables. lost: names that a table has and the store has
    not, with the reason."""

    captions: dict[str, list[str]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)


def read_tables(store: Store, sounds: Sequence[str]) -> Tables:
    """Every caption table of the store."""
    tables = Tables()
    known = {sound: sound for sound in sounds} | {str(PurePosixPath(sound).with_suffix("")): sound for sound in sounds}
    for name in store.sizes:
        if not is_table(name):
            continue
        try:
            text = store.words(name)
        except UserError as error:
            tables.lost[name] = str(error)
            continue
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # zips raise each
            tables.lost[name] = f"unreadable ({error})"
            continue
        broken: list[int] = []
        for row in rows(name, text, broken):
            said, captions = told(row)
            if not said or not captions:
                continue
            tables.files.add(name)
            place = str(PurePosixPath(name).parent / said)
            if place in known:
                tables.captions.setdefault(known[place], []).extend(captions)
            else:
                tables.lost[f"{name}: {said}"] = f"named in {name}, but not there"
        if name in tables.files:
            tables.lost |= {f"{name}: line {line}": "no JSON object" for line in broken}
    return tables


def is_table(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def rows(name: str, text: str, broken: list[int]) -> Iterator[Mapping[str, object]]:
    """The rows of one table by column; a file that is no table has none. broken: gets the numbers of lines, from 1,
    that are no JSON."""
    if name.lower().endswith(".jsonl"):
        for number, line in enumerate(text.split("\n"), 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield row
            elif line.strip():
                broken.append(number)
        return
    try:
        yield from csv.DictReader(io.StringIO(text), delimiter="\t" if name.lower().endswith(".tsv") else ",")
    except csv.Error:  # a field of megabytes: data, and no captions
        return


def told(row: Mapping[str, object]) -> tuple[str, list[str]]:
    """-> which sound a row is about, and its captions."""
    fields = {str(column).strip().lower(): value for column, value in row.items() if column is not None}
    sound = next((str(fields[column]) for column in SOUND if fields.get(column)), "")
    found = [value for column, value in fields.items() if CAPTION.fullmatch(column)]
    flat = [each for value in found for each in (value if isinstance(value, list) else [value])]
    return sound, [" ".join(str(each).split()) for each in flat if each and str(each).strip()]
