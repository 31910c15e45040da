"""What a preparation has done so far, kept so that a kill loses no finished piece.

While it works: `prepare.part.jsonl`, a first line with the settings and then a line an outcome. When it
is done: `rejected.jsonl`, `manifest.jsonl`, and last `corpus.json`, each written whole or not at all.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrion.corpus.corpus import Piece
from orchestrion.corpus.making import Outcome
from orchestrion.errors import UserError
from orchestrion.storage import replacing

PART = "prepare.part.jsonl"


class Journal:
    """The outcomes by key of one corpus folder; `settings` must be those it was begun with.

    Raises UserError where it was begun with others, or another process is at work in it.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings
        self.outcomes: dict[str, Outcome] = {}
        self.gains: dict[str, float] = {}
        begun = self._recall()
        if begun is not None and begun != settings:
            differ = sorted(name for name in begun.keys() | settings.keys() if begun.get(name) != settings.get(name))
            raise UserError(
                f"{folder} was prepared with another {', another '.join(differ)} "
                f"({begun.get(differ[0])} and not {settings.get(differ[0])}): choose another folder"
            )
        try:
            (folder / "audio").mkdir(parents=True, exist_ok=True)
            self._file = (folder / PART).open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{folder} can't be written ({error.strerror}): choose another folder") from error
        self._lock()
        for half_written in (folder / "audio").glob(".*"):
            shutil.rmtree(half_written, ignore_errors=True)
        if self._file.tell() == 0:
            self._line({"settings": settings})

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another `prepare` is at work in {self.folder}: let it finish first") from error

    def _recall(self) -> dict[str, Any] | None:
        """Reads what was done before; -> the settings then, None where there is nothing."""
        begun = None
        try:
            if (self.folder / "corpus.json").exists():
                facts = json.loads((self.folder / "corpus.json").read_text(encoding="utf-8"))
                begun, self.gains = facts["settings"], dict(facts.get("gains", {}))
                for line in filter(None, (self.folder / "manifest.jsonl").read_text(encoding="utf-8").split("\n")):
                    piece = Piece.from_json(line)
                    self.outcomes[piece.source] = Outcome(piece.source, piece)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.folder} holds a corpus that can't be read ({error}): remove it, or choose another folder"
            ) from error
        part = self.folder / PART
        for number, line in enumerate(part.read_text(encoding="utf-8").split("\n") if part.exists() else ()):
            try:
                data = json.loads(line)
            except ValueError:  # cut off by the kill
                continue
            if number == 0:
                begun = data.get("settings")
            else:
                self._remember(
                    Outcome(
                        data["key"],
                        Piece(**data["piece"]) if data["piece"] else None,
                        data["reason"],
                        data["gains"],
                    )
                )
        missing = [
            key for key, done in self.outcomes.items() if done.piece and not (self.folder / done.piece.path).exists()
        ]
        for key in missing:
            del self.outcomes[key]
        return begun

    def _remember(self, outcome: Outcome) -> None:
        self.outcomes[outcome.key] = outcome
        self.gains |= outcome.gains

    def add(self, outcome: Outcome) -> None:
        """Remembers an outcome, on disk too."""
        self._remember(outcome)
        piece = json.loads(outcome.piece.to_json()) if outcome.piece else None
        self._line({"key": outcome.key, "piece": piece, "reason": outcome.reason, "gains": dict(outcome.gains)})

    def _line(self, data: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(data, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"{self.folder} can't be written ({error.strerror}): make room and run the same "
                "command again, it goes on where it stopped"
            ) from error

    def close(self) -> None:
        self._file.close()

    def finish(self, facts: dict[str, Any], strays: Iterable[tuple[str, str]]) -> None:
        """Writes the corpus's files and ends the journal. Raises UserError where there is no piece at all."""
        pieces = sorted((o.piece for o in self.outcomes.values() if o.piece), key=lambda piece: piece.source)
        refused = [(o.key, o.reason) for o in self.outcomes.values() if not o.piece] + list(strays)
        lines = [json.dumps({"source": key, "reason": reason}, ensure_ascii=False) for key, reason in sorted(refused)]
        self._write("rejected.jsonl", lines)
        if not pieces:
            self.close()
            (self.folder / PART).unlink()
            why = f"; the first is {refused[0][0]}: {refused[0][1]}" if refused else ""
            raise UserError(
                f"no piece could be used, {len(refused)} were refused (see {self.folder / 'rejected.jsonl'}){why}"
            )
        self._write("manifest.jsonl", [piece.to_json() for piece in pieces])
        facts = facts | {
            "hours": round(sum(p.seconds for p in pieces) / 3600, 4),
            "pieces": len(pieces),
            "gains": dict(sorted(self.gains.items())),
            "settings": self.settings,
        }
        self._write("corpus.json", [json.dumps(facts, ensure_ascii=False, indent=2)])
        self.close()
        (self.folder / PART).unlink()

    def _write(self, name: str, lines: list[str]) -> None:
        with replacing(self.folder / name) as part:
            part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
