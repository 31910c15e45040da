"""A folder or a zip of one's own: every audio and every MIDI file in it is a piece.

`song.txt` beside `song.wav` is its caption, each line being one. So are the rows of a table (`captions.csv`,
`metadata.jsonl`: see `tables`).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from orchestrion.corpus.sources.source import AUDIO, MIDI, Item, Source, ending
from orchestrion.corpus.sources.tables import NO_TABLE, Tables, is_table, read_tables
from orchestrion.corpus.store import Store


class Files(Source):
    kind, title, licence = "files", "files", "unknown"

    @classmethod
    def recognises(cls, store: Store) -> bool:
        return any(ending(name) in AUDIO | MIDI for name in store.sizes)

    def pieces(self) -> Sequence[str]:
        return [name for name in self.store.sizes if ending(name) in AUDIO | MIDI]

    def item(self, piece: str) -> Item:
        captions = list(self.tables.captions.get(piece, []))
        note = str(PurePosixPath(piece).with_suffix(".txt"))
        if note in self._captions:
            captions.append(self.store.words(note).strip())
        facts = {"caption": "\n".join(captions)} if captions else {}
        if ending(piece) in MIDI:
            return Item(f"midi/{piece}", notes=piece, facts=facts)
        return Item(f"audio/{piece}", recording=piece, facts=facts)

    @cached_property
    def tables(self) -> Tables:
        """The caption files of the collection, read once."""
        return read_tables(self.store, self.pieces())

    def strays(self) -> Mapping[str, str]:
        return {
            name: NO_TABLE
            if is_table(name)
            else f"not audio or MIDI that can be read ({ending(name) or 'no ending'})"
            for name in self.store.sizes
            if ending(name) not in AUDIO | MIDI and name not in self._captions and name not in self.tables.files
        } | self.tables.lost

    @cached_property
    def _captions(self) -> frozenset[str]:
        beside = {str(PurePosixPath(piece).with_suffix(".txt")) for piece in self.pieces()}
        return frozenset(beside & self.store.sizes.keys())
