"""LAION-CLAP (Wu et al. 2023) by transformers: `laion-clap:laion/larger_clap_music`, or a folder. Knows words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo
from orchestrion.evaluation.embeddings.pretrained import plain_tensor, pretrained


class LaionClap(Embedding):
    """One point a clip, of unit length."""

    knows_text = True

    def __init__(self, weights: str) -> None:
        def load() -> tuple[Any, Any, Any]:
            from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

            return (ClapModel.from_pretrained(weights).eval(), ClapFeatureExtractor.from_pretrained(weights),
                    AutoTokenizer.from_pretrained(weights))

        self.model, self.extract, self.tokenise = pretrained("laion-clap", weights, load)
        rate = self.extract.sampling_rate
        self.info = EmbeddingInfo("laion-clap", weights, rate, False, "sound and words as people pair them")

    def __call__(self, audio: Tensor) -> np.ndarray:
        rate = self.info.sample_rate
        inputs = self.extract(audio.numpy(), sampling_rate=rate, return_tensors="pt")
        return _unit(plain_tensor(self.model.get_audio_features(**inputs)))

    @torch.inference_mode()
    def text(self, texts: Sequence[str]) -> np.ndarray:
        inputs = self.tokenise(list(texts), padding=True, truncation=True, return_tensors="pt")
        return _unit(plain_tensor(self.model.get_text_features(**inputs)))


def _unit(features: Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(features.double(), dim=-1).numpy()
