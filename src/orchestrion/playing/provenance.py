"""How a sound was made: what goes into a file's tags, and the command that makes it again."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import orchestrion
from orchestrion.contracts import Prompt


def provenance(verb: str, model: str, sha256: str, licence: str, **what: Any) -> dict[str, Any]:
    """One flat record, JSON values only; what is None or empty is left out.

    what: seed, prompt, duration, settings, command …
    """
    record: dict[str, Any] = {"software": f"orchestrion {orchestrion.__version__}", "verb": verb,
                              "model": model, "model_sha256": sha256, "licence": licence}
    for name, value in what.items():
        plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        if plain is not None and plain != {}:
            record[name] = plain
    return record


def prompt_record(prompt: Prompt | None) -> dict[str, Any]:
    """What a prompt says in words and numbers; audio and images leave only a mark."""
    if prompt is None:
        return {}
    record: dict[str, Any] = {}
    for name in ("text", "negative", "lyrics", "artist", "genre"):
        if getattr(prompt, name):
            record[name] = getattr(prompt, name)
    if prompt.attributes:
        record["attributes"] = dict(prompt.attributes)
    for name in ("audio", "melody", "image"):
        if getattr(prompt, name) is not None:
            record[name] = "given"
    return record


def command_line(verb: str, arguments: list[str], options: Mapping[str, Any]) -> str:
    """A shell command: options that are None or False are left out, True stands alone, lists repeat."""
    words = ["orchestrion", verb, *arguments]
    for name, value in options.items():
        flag = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is True:
                words.append(flag)
            elif item is not None and item is not False:
                words += [flag, f"{item:.15g}" if isinstance(item, float) else str(item)]
    return shlex.join(words)
