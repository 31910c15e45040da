"""Where models are: in the package, in a folder, or on the Hugging Face Hub."""

import json
from pathlib import Path

from orchestrion.errors import UserError, did_you_mean

BUNDLED = Path(__file__).parents[1] / "models"
CONFIG = "config.json"
HUB = "hf:"
_PATTERNS = ["config.json", "*.safetensors", "*.safetensors.index.json", "README.md"]


def bundled_models() -> dict[str, Path]:
    """The models that come with the package, by name."""
    if not BUNDLED.is_dir():
        return {}
    return {folder.name: folder for folder in sorted(BUNDLED.iterdir()) if (folder / CONFIG).is_file()}


def aliases() -> dict[str, str]:
    """Other names of bundled models: `piano` is whichever of them plays the piano best."""
    table = BUNDLED / "aliases.json"
    return json.loads(table.read_text()) if table.is_file() else {}


def default_model(prompted: bool) -> str:
    """The bundled model for those who name none: the one that takes prompts, where there is a prompt."""
    return "text" if prompted else "piano"


def find_model(name: str | Path) -> Path:
    """The folder of a model: a bundled one by name, a folder by path, or `hf:owner/name` from the Hub."""
    text = str(name)
    if text.startswith(HUB):
        return download(text.removeprefix(HUB))
    bundled = bundled_models()
    known = aliases().get(text, text)
    if known in bundled:
        return bundled[known]
    folder = Path(name)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            if (folder / "model" / CONFIG).is_file():
                raise UserError(f"{folder} is the folder of a run; its model is {folder / 'model'}: give that")
            if (folder / "recipe.json").is_file():
                raise UserError(f"the run at {folder} has no model yet: train it first")
            raise UserError(f"{folder} is not a model folder: it has no {CONFIG}; give the folder that "
                            "`orchestrion train` wrote")
        return folder
    if folder.is_file():
        raise UserError(f"{folder} is a file, not a model folder; give the folder that holds {CONFIG}")
    if len(folder.parts) > 1 or text.startswith("."):
        raise UserError(f"there is no model folder {folder}")
    raise UserError(f"there is no model {text!r}; {did_you_mean(text, [*bundled, *aliases()])}")


def find_shared(name: str, near: Path | None = None) -> list[Path]:
    """Folders that may hold a model that others share: bundled, beside the folder `near`, or downloaded
    earlier."""
    from huggingface_hub.constants import HF_HUB_CACHE

    beside = [near.parent / name] if near else []
    found = [BUNDLED / name, *beside, *Path(HF_HUB_CACHE).glob(f"models--*--{name}/snapshots/*")]
    return [folder for folder in found if (folder / CONFIG).is_file()]


def download(repository: str) -> Path:
    """`owner/name` or `owner/name@revision` of the Hub -> its folder in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=_PATTERNS))
    except HFValidationError as error:
        raise UserError(f"{HUB}{repository} names no Hub model; write {HUB}owner/name") from error
    except LocalEntryNotFoundError as error:
        raise UserError(f"{HUB}{repository} can't be reached, and was not downloaded earlier; "
                        "check the network, or give a folder") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        raise UserError(f"the Hub has no model {name!r} that may be read ({status}); check its name, "
                        "or log in with `hf auth login`") from error
    if not (folder / CONFIG).is_file():
        raise UserError(f"{HUB}{repository} is not an Orchestrion model: it has no {CONFIG}")
    return folder
