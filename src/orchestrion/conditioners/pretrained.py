"""Parts of Hugging Face's transformers, by `from_pretrained`, when they are first used."""

from typing import Any

from orchestrion.errors import UserError


def load_pretrained(weights: str, *classes: str) -> Any:
    """Instances of the named transformers classes, modules among them frozen and in evaluation mode.

    weights: a name on the Hub or a folder. Raises `UserError` where transformers isn't installed or the weights can't
    be had.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError("pretrained encoders need transformers: pip install 'orchestrion[pretrained]'") from error
    try:
        found = tuple(getattr(transformers, name).from_pretrained(weights) for name in classes)
    except (OSError, ValueError) as error:
        raise UserError(f"the pretrained weights {weights!r} can't be loaded: they are neither a folder with them nor "
                        f"downloaded or reachable on the Hub ({' '.join(str(error).split())[:200]})") from error
    for part in found:
        if hasattr(part, "requires_grad_"):
            part.requires_grad_(False).eval()
    return found
