"""MERT, HuBERT, wav2vec 2.0 and their kin by transformers: `mert:FOLDER_OR_NAME`.

MERT's own weights come with code that transformers would have to run; here only classes that are part of
transformers are used, so give a folder whose `config.json` names one of them (`model_type: hubert`).
"""

from typing import Any

import numpy as np
from torch import Tensor

from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo
from orchestrion.evaluation.embeddings.pretrained import by_second, pretrained


class Mert(Embedding):
    """A point a second: the last layer's frames, averaged. The waveform is brought to zero mean and unit variance."""

    def __init__(self, weights: str) -> None:
        def load() -> tuple[Any, Any]:
            from transformers import AutoFeatureExtractor, AutoModel

            return AutoModel.from_pretrained(weights).eval(), AutoFeatureExtractor.from_pretrained(weights)

        self.model, self.extract = pretrained("mert", weights, load)
        rate = self.extract.sampling_rate
        self.info = EmbeddingInfo("mert", weights, rate, False, "what a model that listened to much music attends to")

    def __call__(self, audio: Tensor) -> np.ndarray:
        rate = self.info.sample_rate
        inputs = self.extract(audio.numpy(), sampling_rate=rate, return_tensors="pt")
        frames = self.model(**inputs).last_hidden_state[0].T
        return by_second(frames, frames.shape[1] * rate / len(audio))
