"""What a file or folder says of itself: audio, latents, a model, a corpus."""

import json
from pathlib import Path
from typing import Any

from orchestrion.audio.files import info, read_tags
from orchestrion.errors import UserError
from orchestrion.playing.latents import ENDING, latents_record
from orchestrion.playing.origin import changes
from orchestrion.systems.folder import check_files, read_about, read_system_config
from orchestrion.systems.shelf import CONFIG, HUB, bundled_models, find_model


def inspect(name: str) -> dict[str, Any]:
    """Everything known, as a flat dict of plain values; the key `command` makes the file again."""
    path = Path(name)
    if path.is_file():
        facts = latents_record(path) if path.suffix == ENDING else _audio(path)
        changed = changes(facts)
        return facts | {"beware": changed} if changed else facts
    if (path / "corpus.json").is_file():
        return _corpus(path)
    if path.is_dir() or name in bundled_models() or name.startswith(HUB):
        return _model(find_model(name))
    if path.suffix or len(path.parts) > 1:
        raise UserError(f"there is no file or folder {path}")
    return _model(find_model(name))


def _audio(path: Path) -> dict[str, Any]:
    header = info(path)
    facts = {"file": str(path), "seconds": round(header.seconds, 3), "sample_rate": header.sample_rate,
             "channels": header.channels}
    record = read_tags(path)
    if record is None:
        return facts | {"made_by": "not stated: the file carries no tags of Orchestrion"}
    return facts | record


def _model(folder: Path) -> dict[str, Any]:
    about, system = read_about(folder), read_system_config(folder)
    check_files(folder)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    facts: dict[str, Any] = {"model": about.name, "folder": str(folder), "summary": about.summary,
                             "licence": about.licence, "data": about.data,
                             "weights": f"{weights / 2**20:.1f} MiB",
                             "codec": type(system.codec).__name__,
                             "conditioner": type(system.conditioner).__name__ if system.conditioner else None,
                             "generator": type(system.generator).__name__ if system.generator else None}
    reference = json.loads((folder / CONFIG).read_text()).get("codec")
    if reference:
        facts["shared_codec"] = f"{reference['shared']}, sha256 {reference['sha256'][:12]}…"
    facts |= {"training": dict(about.training), "scores": dict(about.scores)}
    return {name: value for name, value in facts.items() if value}


def _corpus(folder: Path) -> dict[str, Any]:
    try:
        facts = dict(json.loads((folder / "corpus.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder / 'corpus.json'} is damaged ({error}); prepare the corpus again") from error
    counts = {}
    for name in ("manifest", "rejected"):
        lines = folder / f"{name}.jsonl"
        counts[{"manifest": "pieces", "rejected": "refused"}[name]] = (
            sum(1 for line in lines.open(encoding="utf-8") if line.strip()) if lines.is_file() else 0)
    return {"corpus": str(folder), **facts, **counts}
