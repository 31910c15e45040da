"""What a source is: something that knows one collection's layout and names its pieces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar

from orchestrion.corpus.store import Store

AUDIO = frozenset(
    (
        ".wav",
        ".wave",
        ".flac",
        ".mp3",
        ".ogg",
        ".oga",
        ".opus",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
    )
)
MIDI = frozenset((".mid", ".midi"))


@dataclass(frozen=True)
class Item:
    """One piece before it is sound: where its recording or its notes are, and what is known of it.

    With both, the recording is heard and the notes describe it.
    """

    key: str  # `pop909/001`: names the piece and decides its split
    recording: str | None = None  # a file of the store
    notes: str | None = None  # a MIDI file of the store
    split: str | None = None  # the collection's own, where it has one
    facts: Mapping[str, str] = field(default_factory=dict)  # title, artist, composer, genre, year, caption
    attributes: Mapping[str, float] = field(default_factory=dict)  # annotations; they win over measurements
    beats: Sequence[float] = ()  # seconds
    true_tempo: bool = True  # False: the MIDI was played freely and its tempo track means nothing


class Source:
    """Subclasses set the class variables and implement the three methods."""

    kind: ClassVar[str]  # the first part of every key
    title: ClassVar[str]
    licence: ClassVar[str]

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def recognises(cls, store: Store) -> bool:
        """Is this collection in the store? Looks at names only."""
        raise NotImplementedError

    def pieces(self) -> Sequence[str]:
        """The pieces' names, in order; cheap."""
        raise NotImplementedError

    def item(self, piece: str) -> Item:
        """One piece of `pieces`; reads its annotations, so it is called when its turn comes.

        Raises UserError where the piece can't be used, with the reason.
        """
        raise NotImplementedError

    def strays(self) -> Mapping[str, str]:
        """Files that belong to no piece, and why each is refused."""
        return {}


def ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
