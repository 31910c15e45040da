"""`systems`, `models`, `inspect`: what there is, and what a file says of itself."""

import json
from typing import Annotated, Any

import typer

from orchestrion.cli.shared import table


def register(app: typer.Typer) -> None:
    for verb in (systems, models, inspect):
        app.command()(verb)


def systems() -> None:
    """The systems that can be trained."""
    import orchestrion.systems  # noqa: F401  (its pages enter themselves into the table)
    from orchestrion.systems.system import SYSTEMS

    rows = [(s.name, " ".join(s.sizes), s.summary) for s in sorted(SYSTEMS.values(), key=lambda s: s.name)]
    table(("system", "sizes", "what it is"), rows)


def models() -> None:
    """The models that come with the package: they need no network."""
    from orchestrion.systems.folder import read_about
    from orchestrion.systems.shelf import aliases, bundled_models

    others = {target: name for name, target in aliases().items()}
    rows = []
    for name, folder in bundled_models().items():
        about = read_about(folder)
        shown = f"{name} (= {others[name]})" if name in others else name
        rows.append((shown, about.licence, about.summary))
    table(("model", "licence", "what it is"), rows)


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Audio, latents, a model, or a corpus.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How a file was made, and the command that makes it again."""
    from orchestrion.playing.inspection import inspect as look

    facts = look(file)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    command = facts.pop("command", None)
    width = max(len(name) for name in _flat(facts))
    for name, value in _flat(facts).items():
        typer.echo(f"{name:<{width}}  {value}")
    if command:
        typer.echo(f"\nTo make it again:\n{command}")


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts as `outer inner`."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            flat |= {f"{name} {inner}": each for inner, each in _flat(value).items()}
        else:
            flat[name] = value
    return flat
