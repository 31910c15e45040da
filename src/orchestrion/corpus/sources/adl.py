"""ADL Piano MIDI (Ferreira et al. 2020): `adl-piano-midi/<Genre>/<Subgenre>/<Artist>/<Title>.mid`."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from orchestrion.corpus.sources.source import MIDI, Item, Source, ending
from orchestrion.corpus.store import Store


class AdlPianoMidi(Source):
    kind, title, licence = "adl", "ADL Piano MIDI", "CC BY 4.0"

    @classmethod
    def recognises(cls, store: Store) -> bool:
        if "adl-piano-midi" in store.name.lower():
            return any(ending(name) in MIDI for name in store.sizes)
        return any("adl-piano-midi" in PurePosixPath(name).parts[:1] for name in store.sizes)

    def pieces(self) -> Sequence[str]:
        return [name for name in self.store.sizes if ending(name) in MIDI]

    def item(self, piece: str) -> Item:
        parts = [part for part in PurePosixPath(piece).with_suffix("").parts if part != "adl-piano-midi"]
        names = ("genre", "subgenre", "artist")
        facts = dict(zip(names, parts[:-1])) | {"title": parts[-1]}
        return Item(f"adl/{'/'.join(parts)}", notes=piece, facts=facts)

    def strays(self) -> Mapping[str, str]:
        return {
            name: "not MIDI"
            for name in self.store.sizes
            if ending(name) not in MIDI and PurePosixPath(name).stem.upper() not in ("LICENSE", "README")
        }
