"""Where music comes from. A new collection is one file here and one line in `SOURCES`.

The first that recognises a folder or a zip takes it; the general ones come last.
"""

from orchestrion.corpus.sources.adl import AdlPianoMidi
from orchestrion.corpus.sources.files import Files
from orchestrion.corpus.sources.maestro import Maestro
from orchestrion.corpus.sources.pop909 import Pop909
from orchestrion.corpus.sources.source import AUDIO, MIDI, Item, Source
from orchestrion.corpus.store import Store
from orchestrion.errors import UserError

SOURCES: tuple[type[Source], ...] = (Pop909, Maestro, AdlPianoMidi, Files)

__all__ = ["AUDIO", "MIDI", "SOURCES", "Item", "Source", "find_source"]


def find_source(store: Store) -> Source:
    """The source that knows what is in the store."""
    for source in SOURCES:
        if source.recognises(store):
            return source(store)
    if not store.sizes:
        raise UserError(f"{store.address} is empty: give a folder or a zip of audio or MIDI")
    raise UserError(f"there is neither audio ({', '.join(sorted(e[1:] for e in AUDIO))}) nor MIDI in {store.address}")
