"""Latents and tokens as files: safetensors, with the codec that they belong to in the header."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.errors import UserError
from orchestrion.playing.model import Model
from orchestrion.playing.origin import origin
from orchestrion.storage import check_writable, replacing, share

ENDING = ".safetensors"
_KEY = "orchestrion"


def check_latents_path(path: Path) -> None:
    """Refuses an output before the work."""
    if path.suffix != ENDING:
        raise UserError(f"{path}: latents are written as {ENDING}")
    check_writable(path)


def encode_file(model: Model, source: Path, target: Path) -> None:
    """An audio file -> a file of its latents `[1 d n]` or tokens `[1 k n]`."""
    from safetensors.torch import save_file

    check_latents_path(target)
    audio = Audio.read(source)
    length = round(audio.samples.shape[1] * model.sample_rate / audio.sample_rate)
    record = model.record("encode", codec_sha256=model.codec_sha256, length=length, source=source.name,
                          **origin(model, "encode", [source], {}, target))
    latents = model.encode(audio).contiguous()
    with replacing(target) as part:
        save_file({"latents": latents}, part, metadata={_KEY: json.dumps(record)})
        share(part)


def decode_file(model: Model, source: Path) -> Audio:
    """The audio of a latents file; refuses the latents of another codec."""
    latents, record = read_latents(source)
    if record.get("codec_sha256") != model.codec_sha256:
        raise UserError(f"{source} holds latents of another codec than {model.name}'s (made by "
                        f"{record.get('model', 'an unknown model')}); decode it with the model that made it")
    return model.decode(latents, record.get("length"))


def read_latents(path: Path) -> tuple[Tensor, dict[str, Any]]:
    """-> latents or tokens `[1 d n]`, and how they were made."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            record = json.loads((file.metadata() or {})[_KEY])
            latents: Tensor = file.get_tensor("latents")
            return latents, record
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise UserError(f"{path} is not a latents file that `orchestrion encode` wrote") from error


def latents_record(path: Path) -> dict[str, Any]:
    """What a latents file says of itself."""
    latents, record = read_latents(path)
    dtype = str(latents.dtype).removeprefix("torch.")
    return record | {"shape": list(latents.shape), "kind": "tokens" if latents.dtype == torch.long else dtype}
