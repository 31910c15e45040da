"""A corpus on disk: `corpus.json`, `manifest.jsonl` and the audio that it lists."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from orchestrion.errors import UserError

SPLITS = ("train", "validation", "test")
BEGUN = ("prepare.part.jsonl", "rejected.jsonl", "manifest.jsonl", "corpus.json")  # any of which `prepare` leaves


@dataclass(frozen=True)
class Piece:
    """One line of the manifest. `path` is relative to the corpus; `attributes` are the ground truth.

    source: the piece's key, such as `pop909/001`. sha256: of what is heard: the samples of a recording, the
    notes and pedals of MIDI. facts: what metadata says: title, artist, composer, genre, year, caption (lines of which
    each is one). curves: how the playing changes, of `music.Music.curves`.
    beats: when they fall, in seconds, where that is known.
    """

    path: str
    seconds: float
    split: str
    caption: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    sha256: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    beats: list[float] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Piece":
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in json.loads(line).items() if key in known})


@dataclass(frozen=True)
class Corpus:
    """An opened corpus. All audio has one sample rate; it is heard in `channels`, whatever its files have."""

    folder: Path
    name: str
    sample_rate: int
    channels: int
    licence: str
    pieces: tuple[Piece, ...]

    @classmethod
    def open(cls, folder: str | Path) -> "Corpus":
        """Raises UserError where the folder is missing, is no corpus, or is empty."""
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"there is no corpus at {folder}: make one with `orchestrion prepare SOURCE -o {folder}`")
        try:
            facts = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
            lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").split("\n")  # captions may hold U+2028
            pieces = tuple(Piece.from_json(line) for line in lines if line.strip())
            corpus = cls(
                folder,
                facts["name"],
                int(facts["sample_rate"]),
                int(facts["channels"]),
                facts.get("licence", "unknown"),
                pieces,
            )
        except FileNotFoundError as error:
            if not any((folder / name).exists() for name in BEGUN):
                raise UserError(
                    f"{folder} is not a corpus: make one of the music in it with `orchestrion prepare {folder} -o "
                    "CORPUS`, and give that"
                ) from error
            raise UserError(
                f"{folder} is not a finished corpus: {Path(error.filename).name} is missing; "
                "run `orchestrion prepare` again, it goes on where it stopped"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"the corpus at {folder} is damaged ({error}): prepare it again") from error
        if not pieces:
            raise UserError(f"the corpus at {folder} is empty: see {folder / 'rejected.jsonl'} for the reasons")
        return corpus

    def split(self, name: str) -> list[Piece]:
        return [piece for piece in self.pieces if piece.split == name]

    def in_channels(self, channels: int) -> "Corpus":
        """The same corpus, mixed or copied to `channels` as it is read."""
        return replace(self, channels=channels)

    def read(self, piece: Piece, start: int = 0, samples: int = -1) -> np.ndarray:
        """-> float32 `[c t]`: `samples` of them, or all, from `start`; fewer where the piece ends.

        Raises UserError where the file is missing or damaged.
        """
        path = self.folder / piece.path
        try:
            found = sf.read(path, samples, start, dtype="float32", always_2d=True)[0].T
        except (sf.LibsndfileError, RuntimeError) as error:
            raise UserError(f"{path} can't be read ({error}): prepare the corpus again") from error
        if found.shape[0] == self.channels:
            return found
        import torch

        from orchestrion.audio import Audio

        return Audio(torch.from_numpy(found.copy()), self.sample_rate).to_channels(self.channels).samples.numpy()

    @property
    def hours(self) -> float:
        return sum(piece.seconds for piece in self.pieces) / 3600
