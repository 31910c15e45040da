"""EnCodec (Défossez et al. 2022) by transformers: `encodec:facebook/encodec_24khz`, or a folder."""

from typing import Any

import numpy as np
from torch import Tensor

from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo
from orchestrion.evaluation.embeddings.pretrained import by_second, pretrained


class Encodec(Embedding):
    """A point a second: the encoder's frames before quantisation, averaged."""

    def __init__(self, weights: str) -> None:
        def load() -> Any:
            from transformers import EncodecModel

            return EncodecModel.from_pretrained(weights).eval()

        self.model = pretrained("encodec", weights, load)
        self.config = self.model.config
        self.info = EmbeddingInfo("encodec", weights, self.config.sampling_rate, False, "what a codec keeps of a sound")

    def __call__(self, audio: Tensor) -> np.ndarray:
        frames = self.model.encoder(audio.expand(1, self.config.audio_channels, -1))[0]
        return by_second(frames, self.config.frame_rate)
