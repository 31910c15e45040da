"""What is made from files: never over them, and signed with what it takes to make it again."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrion.audio import Audio
from orchestrion.errors import UserError
from orchestrion.playing.model import Model
from orchestrion.playing.provenance import command_line


def check_apart(outputs: Iterable[Path], sources: Sequence[Path]) -> None:
    """Refuses an output that would take the place of what it is made from."""
    for output in outputs:
        for source in sources:
            if output.exists() and source.exists() and output.samefile(source):
                raise UserError(f"{output} is what it would be made from, and would be lost; choose another output")


def made_from(sources: Sequence[Path]) -> dict[str, str]:
    """Absolute paths, and the SHA-256 of what they held."""
    return {str(source.resolve()): file_sha256(source) for source in sources}


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changes(record: Mapping[str, Any]) -> str | None:
    """A sentence where a file that something was made from is no longer what it was."""
    found = []
    for name, digest in record.get("made_from", {}).items():
        path = Path(name)
        if not path.is_file():
            found.append(f"{name} is gone")
        elif file_sha256(path) != digest:
            found.append(f"{name} has changed since")
    return "; ".join(found) or None


def origin(model: Model, verb: str, sources: Sequence[Path], options: Mapping[str, Any],
           output: Path) -> dict[str, Any]:
    """What provenance says of files made from files: the command that makes it again, and the files."""
    places = {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch."), "o": str(output)}
    words = [model.source, *(str(source.resolve()) for source in sources)]
    return {"command": command_line(verb, words, {**options, **places}), "made_from": made_from(sources)}


def write_signed(made: Audio, signature: Mapping[str, Any], output: Path) -> Path:
    return replace(made, provenance={**(made.provenance or {}), **signature}).write(output)
