"""A CLAP trained here: `clap:MODEL`, any of our models whose conditioner hears sound and reads words.

The conditioner is asked through the contract alone: a prompt with audio and a prompt with text each give a
`vector` in one space.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from orchestrion.contracts import Conditioner, Prompt
from orchestrion.errors import UserError
from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo
from orchestrion.systems.folder import load_model
from orchestrion.systems.shelf import find_model


class OwnClap(Embedding):
    """One point a clip, of unit length."""

    knows_text = True

    def __init__(self, weights: str) -> None:
        loaded = load_model(find_model(weights))
        conditioner = loaded.system.conditioner
        if conditioner is None or "vector" not in conditioner.fills:
            raise UserError(f"{weights} has no conditioner that makes a vector of sound: give a model with a CLAP")
        self.conditioner: Conditioner = conditioner
        rate = getattr(conditioner, "sample_rate", None) or loaded.system.codec.sample_rate
        self.info = EmbeddingInfo("clap", loaded.sha256, rate, False, "sound and words as our own CLAP pairs them")
        hiss = 0.1 * torch.randn(1, 2 * rate, generator=torch.Generator().manual_seed(0))
        if np.allclose(self._vector(Prompt(audio=hiss)), self._vector(Prompt(audio=torch.zeros_like(hiss)))):
            raise UserError(f"the conditioner of {weights} doesn't hear sound: give a model with a CLAP")

    def __call__(self, audio: Tensor) -> np.ndarray:
        return self._vector(Prompt(audio=audio[None]))

    def text(self, texts: Sequence[str]) -> np.ndarray:
        return np.concatenate([self._vector(Prompt(text=text)) for text in texts])

    @torch.inference_mode()
    def _vector(self, prompt: Prompt) -> np.ndarray:
        """-> `[1 e]`."""
        vector = self.conditioner([prompt]).vector
        assert vector is not None
        return torch.nn.functional.normalize(vector.double(), dim=-1).cpu().numpy()
