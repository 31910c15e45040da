"""How it sounds: statistics of the log-mel spectrum over a clip."""

import numpy as np
import torch
from torch import Tensor

from orchestrion.audio.spectra import LogMel
from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo

SAMPLE_RATE, WINDOW, HOP, BANDS = 32_000, 2048, 512, 128
FLOOR = 1e-4  # as in `evaluation.log_mel`: what is softer isn't heard beside music


class LogMelStatistics(Embedding):
    """`[1 3·128]`: each band's mean, deviation and mean step from frame to frame, in nepers.

    The mean is the timbre and its balance, the deviation how far sounds rise and fall, the step how quickly:
    a smeared clip keeps the first and loses the last.
    """

    info = EmbeddingInfo("log-mel", "1", SAMPLE_RATE, True, "timbre, balance and movement of 128 mel bands")

    def __init__(self) -> None:
        self.log_mel = LogMel(SAMPLE_RATE, WINDOW, HOP, BANDS)

    def __call__(self, audio: Tensor) -> np.ndarray:
        bands = self.log_mel(audio).clamp_min(float(np.log(FLOOR))).double()
        steps = bands.diff(dim=1).abs().mean(1) if bands.shape[1] > 1 else torch.zeros_like(bands[:, 0])
        return torch.cat([bands.mean(1), bands.std(1, correction=0), steps])[None].numpy()
