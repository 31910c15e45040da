"""VGGish (Hershey et al. 2017), whose embedding the first FAD took, from an ONNX file: `vggish:vggish.onnx`.

The front end is ours, by the published figures: 16 kHz, Hann 25 ms every 10 ms, 64 mel bands from 125 to
7500 Hz, log(mel + 0.01), patches of 96 frames (0.96 s) without overlap.
"""

import numpy as np
import torch
from torch import Tensor, nn

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.errors import UserError
from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo
from orchestrion.evaluation.embeddings.pretrained import onnx_session

SAMPLE_RATE, WINDOW, HOP, SIZE = 16_000, 400, 160, 512
BANDS, LOW, HIGH, OFFSET = 64, 125.0, 7500.0, 0.01
PATCH = 96


class VGGish(Embedding):
    """128 numbers for every 0.96 s, of a network that takes patches `[b 96 64]`, `[b 1 96 64]` or `[b 96 64 1]`."""

    def __init__(self, weights: str) -> None:
        self.session = onnx_session("vggish", weights)
        self.input = self.session.get_inputs()[0]
        self.info = EmbeddingInfo("vggish", weights, SAMPLE_RATE, False, "sounds as a classifier of videos hears them")
        self.filters = mel_filterbank(SAMPLE_RATE, SIZE, BANDS, LOW, HIGH, scale="htk")
        rank = len(self.input.shape)
        if rank not in (3, 4):
            raise UserError(f"{weights} takes an input of {rank} dimensions: VGGish takes patches of 96 x 64")
        self.shape = (-1, PATCH, BANDS) if rank == 3 else (
            (-1, PATCH, BANDS, 1) if self.input.shape[-1] == 1 else (-1, 1, PATCH, BANDS))

    def __call__(self, audio: Tensor) -> np.ndarray:
        found = self.session.run(None, {self.input.name: self.patches(audio).reshape(self.shape).numpy()})[0]
        return np.asarray(found, dtype=np.float64).reshape(len(found), -1)

    def patches(self, audio: Tensor) -> Tensor:
        """audio `[t]` -> log-mel patches `[w 96 64]`; a clip shorter than a patch is followed by silence."""
        audio = nn.functional.pad(audio, (0, max(0, WINDOW + (PATCH - 1) * HOP - len(audio))))
        frames = audio.unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW)
        mel = torch.fft.rfft(frames, SIZE).abs() @ self.filters.T
        count = len(mel) // PATCH
        return (mel[: count * PATCH] + OFFSET).log().reshape(count, PATCH, BANDS)
