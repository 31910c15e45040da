"""The model folder: what is saved of a trained system, in the Hub's own convention.

    model.safetensors   the weights (EMA), or in parts with their index where they are large
    config.json         format version, the system's configuration, and what is known about the model
    README.md           the model card

A model may leave its codec out and name one that it shares, by the hash of that codec's weights.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import orchestrion
import orchestrion.codecs
import orchestrion.conditioners
import orchestrion.generators
from orchestrion.errors import UserError
from orchestrion.storage import replacing
from orchestrion.systems.shelf import CONFIG, find_shared
from orchestrion.systems.system import System, SystemConfig

FORMAT_VERSION = 1
PART_SIZE = 16 * 2**20  # bytes; a tensor larger than that still makes a part of its own
EXTRA = "._extra_state"  # what torch calls a module's state that is no weight: a tokeniser, as long as it is
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class About:
    """What a model's card says. `training` and `scores` are figures by name, units in the name."""

    name: str
    summary: str = ""
    licence: str = "unknown"  # of the weights
    data: str = ""  # what it was trained on, and under which licence
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""  # Markdown, at the card's end
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of the generator's options


@dataclass(frozen=True)
class SharedCodec:
    """A codec that several models share: the name of its folder, and the hash of its weights."""

    shared: str
    sha256: str


@dataclass(frozen=True)
class LoadedModel:
    """A system with its weights, in evaluation mode, and what its folder says of it."""

    system: System
    about: About
    folder: Path
    sha256: str  # of all weights, the shared codec's too

    @property
    def shared_codec(self) -> SharedCodec | None:
        return _shared(_read_config(self.folder))


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights by name, shape and value: the same for half-precision weights and their float32
    copies, and however they are cut into files."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu()
        value = value.float() if value.is_floating_point() else value.long()
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(value.contiguous().numpy().data)
    return digest.hexdigest()


# Saving


def save_model(system: System, folder: str | Path, about: About, codec: SharedCodec | None = None,
               weights: Mapping[str, Tensor] | None = None, dtype: torch.dtype | None = None) -> Path:
    """Writes a model folder, whole or not at all.

    codec: the shared codec that stands for the system's own. weights: taken instead of the system's own
    (an EMA's), by the system's names. dtype: what floating-point weights are stored as.
    """
    from huggingface_hub import save_torch_state_dict

    folder = Path(folder)
    check_model_target(folder)
    state = dict(system.state_dict() if weights is None else weights)
    stored = {name: _stored(value, dtype) for name, value in state.items()
              if codec is None or not name.startswith("codec.")}
    config: dict[str, Any] = {"format_version": FORMAT_VERSION, "orchestrion": orchestrion.__version__,
                              "about": asdict(about), "system": system.config.to_dict()}
    if codec is not None:
        config["codec"] = asdict(codec)
    with replacing(folder) as part:
        part.mkdir()
        save_torch_state_dict(stored, part, max_shard_size=PART_SIZE)
        (part / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        (part / "README.md").write_text(model_card(about, system, codec))
        for weights_file in part.glob("*.safetensors"):  # written for their owner alone; a model is to be shared
            weights_file.chmod((part / CONFIG).stat().st_mode)
    return folder


def check_model_target(folder: Path) -> None:
    """Refuses a place where something else than a model stands."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG).is_file()):
        raise UserError(f"{folder} holds something that is not a model; choose another folder")


def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu()
    return value.to(dtype if dtype and value.is_floating_point() else value.dtype, copy=True).contiguous()


def model_card(about: About, system: System, codec: SharedCodec | None) -> str:
    """README.md of a model folder, with the front matter that the Hub reads (JSON values are YAML)."""
    front = {"license": about.licence.lower(), "library_name": "orchestrion",
             "tags": ["audio", "music-generation" if system.generator else
                      "feature-extraction" if system.conditioner else "audio-codec"]}
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", "",
             f"# {about.name}", "", about.summary, ""]
    parts = [(name, part) for name, part in system.named_children()]
    lines += ["| part | class | parameters |", "|---|---|---|"]
    lines += [f"| {name} | {type(part).__name__} | {_millions(part)} |" for name, part in parts]
    lines += ["", f"Sound: {system.codec.sample_rate} Hz, {system.codec.channels} "
              f"channel{'s' if system.codec.channels > 1 else ''}."]
    if codec:
        lines += ["", f"The codec is shared: `{codec.shared}`, weights sha256 `{codec.sha256}`."]
    lines += ["", "## Data and licence", "", about.data or "Not stated.", "", f"Weights: {about.licence}."]
    for title, figures in (("Training", about.training), ("Measured", about.scores)):
        if figures:
            lines += ["", f"## {title}", "", "| | |", "|---|---|"]
            lines += [f"| {name} | {value} |" for name, value in figures.items()]
    if about.notes:
        lines += ["", about.notes]
    return "\n".join(lines) + "\n"


def _millions(part: nn.Module) -> str:
    return f"{sum(p.numel() for p in part.parameters()) / 1e6:.1f} M"


# Loading


def load_model(folder: str | Path) -> LoadedModel:
    """A model folder -> its system in float32. Raises `UserError` for whatever is wrong with the folder."""
    folder = Path(folder)
    config = _read_config(folder)
    system = read_system_config(folder).build()
    state = _read_weights(folder)
    reference = _shared(config)
    if reference:
        state |= _shared_weights(reference, folder)
    _check_weights(state, system.state_dict(), folder)
    system.load_state_dict(state)
    return LoadedModel(system.eval().requires_grad_(False), read_about(folder), folder, weights_hash(state))


def load_codec(folder: str | Path) -> tuple[System, SharedCodec]:
    """A codec's folder -> its system, and the reference by which generators over it name it."""
    model = load_model(folder)
    weights = {f"codec.{name}": value for name, value in model.system.codec.state_dict().items()}
    return model.system, SharedCodec(model.about.name, weights_hash(weights))


def read_about(folder: str | Path) -> About:
    """What a model folder says of itself, without its weights."""
    about = _read_config(Path(folder)).get("about", {})
    known = {f.name for f in fields(About)}
    return About(**{"name": Path(folder).name} | {k: v for k, v in about.items() if k in known and v is not None})


def read_system_config(folder: str | Path) -> SystemConfig:
    """The configuration in a model folder, without its weights."""
    try:
        return SystemConfig.from_dict(_read_config(Path(folder))["system"])
    except UserError as error:
        raise UserError(f"{Path(folder) / CONFIG}: {error}") from error


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not folder.is_dir():
        raise UserError(f"there is no model folder {folder}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a model folder: it has no {CONFIG}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); take the model from its source again") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int):
        raise UserError(f"{path} is not of an Orchestrion model: it has no format_version")
    if version > FORMAT_VERSION:
        raise UserError(f"{folder} was made by a newer Orchestrion (format {version}, this one reads up to "
                        f"{FORMAT_VERSION}); upgrade with `pip install -U orchestrion`")
    if (part := _damaged(config)) is not None:
        raise UserError(f"{path} is damaged: its {part!r} is missing or malformed; take the model from its source "
                        "again")
    return config


def _damaged(config: dict[str, Any]) -> str | None:
    """The part of a config that isn't of the shape that `save_model` gives it."""
    if not isinstance(config.get("system"), dict):
        return "system"
    about = config.get("about", {})
    tables = ("training", "scores", "defaults")
    if not isinstance(about, dict) or not all(isinstance(about.get(name, {}), dict) for name in tables):
        return "about"
    codec = config.get("codec")
    named = isinstance(codec, dict) and all(isinstance(codec.get(name), str) for name in ("shared", "sha256"))
    return None if codec is None or named else "codec"


def check_files(folder: str | Path) -> None:
    """Whether all weights are there, and whole by their headers; raises `UserError` else. Quicker than loading."""
    from safetensors import SafetensorError, safe_open

    for path in _weight_files(Path(folder)):
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}); take the model from its source again") from error


def _weight_files(folder: Path) -> list[Path]:
    names = [WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
        except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{folder / INDEX} is damaged; take the model from its source again") from error
    paths = [folder / Path(name).name for name in names]  # never outside the folder
    for path in paths:
        if not path.is_file():
            raise UserError(f"{folder} is not whole: {path.name} is missing; take it from its source again")
    return paths


def _read_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        try:
            state |= load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}); take the model from its source again") from error
    return state


def _shared(config: dict[str, Any]) -> SharedCodec | None:
    reference = config.get("codec")
    return SharedCodec(reference["shared"], reference["sha256"]) if reference else None


def found_anywhere(reference: SharedCodec) -> bool:
    """Whether a model in any folder finds the shared codec: it is bundled, or was downloaded."""
    return _weights_of(reference, find_shared(reference.shared)) is not None


def _shared_weights(reference: SharedCodec, folder: Path) -> dict[str, Tensor]:
    """Weights of the shared codec, named as in the system: `codec.…`."""
    found = find_shared(reference.shared, folder)
    state = _weights_of(reference, found)
    if state is not None:
        return state
    what = f"has other weights (at {found[0]})" if found else "is not among the bundled models"
    raise UserError(f"{folder} needs the codec {reference.shared!r} with sha256 {reference.sha256[:12]}…, "
                    f"which {what}; put that codec's folder beside it, as {folder.parent / reference.shared}")


def _weights_of(reference: SharedCodec, places: list[Path]) -> dict[str, Tensor] | None:
    """From the first of the places that holds that very codec."""
    for place in places:
        state = {k: v for k, v in _read_weights(place).items() if k.startswith("codec.")}
        if weights_hash(state) == reference.sha256:
            return state
    return None


def _check_weights(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], folder: Path) -> None:
    for name in wanted.keys() & state.keys():
        have, want = list(state[name].shape), list(wanted[name].shape)
        if have != want and not name.endswith(EXTRA):
            raise UserError(f"{folder} holds weights of another shape: {name} is {have} in the file, "
                            f"{want} by its {CONFIG}")
    for what, names in (("lacks the weights", wanted.keys() - state.keys()),
                        ("holds weights that its config has no place for,", state.keys() - wanted.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{folder} {what} {min(names)}{more}; its files don't belong together")
