"""Training state on disk: written beside the old one, then put in its place, so that a kill loses neither."""

import os
from pathlib import Path
from typing import Any

import torch

from orchestrion.errors import UserError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Raises UserError where the disk is full; the checkpoint that was there stays as it was."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(fresh, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except (OSError, RuntimeError) as error:
        kept = "the last checkpoint is intact" if path.exists() else "nothing had been saved before"
        raise UserError(f"{path} can't be written ({error}): make room there; {kept}") from error
    finally:
        fresh.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Raises UserError where there is no training state in it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds no training state")
    except Exception as error:
        raise UserError(f"{path} is damaged ({error}): delete it to begin this stage anew") from error
    return state
