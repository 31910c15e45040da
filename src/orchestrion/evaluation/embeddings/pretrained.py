"""What the learnt embeddings share: loading weights that the user has, and points by the second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from orchestrion.errors import UserError

T = TypeVar("T")


def pretrained(kind: str, weights: str, load: Callable[[], T]) -> T:
    """What `load` gives of the transformers library. Raises `UserError` where that, or the weights, are missing."""
    try:
        return load()
    except ImportError as error:
        raise UserError(f"the embedding {kind} needs transformers ({error}): pip install transformers") from error
    except (OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"the embedding {kind} can't be loaded from {weights}: {first}") from error


def onnx_session(kind: str, path: str) -> Any:
    """An ONNX file, to be run on one thread a clip."""
    if not Path(path).is_file():
        raise UserError(f"the embedding {kind} needs its ONNX file: there is no {path}")
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"the embedding {kind} needs onnxruntime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path} can't be read as ONNX: {str(error).partition(chr(10))[0]}") from error


def by_second(frames: Tensor, rate: float) -> np.ndarray:
    """Frames `[e n]` at `rate` a second -> their means over each second `[w e]`; a last part shorter than half a
    second belongs to the one before."""
    count = max(1, round(frames.shape[1] / rate))
    parts = frames.double().cpu().tensor_split(count, dim=1)
    return np.stack([part.mean(1).numpy() for part in parts])


def plain_tensor(output: Any) -> Tensor:
    """transformers gives features as a tensor, or since version 5 within an output object."""
    return output if isinstance(output, Tensor) else output.pooler_output
