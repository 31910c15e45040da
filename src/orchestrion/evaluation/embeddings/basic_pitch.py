"""Note posteriors of Spotify's basic-pitch (Bittner et al. 2022) from its ONNX file: `basic-pitch:nmp.onnx`.

The network takes 43,844 samples at 22,050 Hz and gives, 86 times a second, how likely each of 88 notes
sounds and begins. What is played, by a transcriber that heard many instruments.
"""

import numpy as np
from torch import Tensor, nn

from orchestrion.errors import UserError
from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo
from orchestrion.evaluation.embeddings.pretrained import onnx_session
from orchestrion.evaluation.transcription import Note, notes_of

SAMPLE_RATE, WINDOW, HOP, NOTES = 22_050, 43_844, 256, 88
EDGE, KEPT = 15, 141  # frames of a window: dropped at its beginning, then kept; the last 15 are dropped too


class BasicPitch(Embedding):
    """`[1 352]`: mean and deviation over time of each note's posterior, then of each onset's.

    Of the network's outputs of 88 notes the last two are taken as notes and onsets in the order of their names.
    """

    hears_notes = True

    def __init__(self, weights: str) -> None:
        self.session = onnx_session("basic-pitch", weights)
        self.input = self.session.get_inputs()[0].name
        outputs = sorted(o.name for o in self.session.get_outputs() if o.shape[-1] == NOTES)
        if len(outputs) != 2:
            raise UserError(f"{weights} has {len(outputs)} outputs of 88 notes, basic-pitch has 2 (notes and onsets)")
        self.outputs = outputs
        self.info = EmbeddingInfo("basic-pitch", weights, SAMPLE_RATE, False, "notes that a transcriber hears")

    def __call__(self, audio: Tensor) -> np.ndarray:
        posteriors = self.posteriors(audio)
        return np.concatenate([part for each in posteriors for part in (each.mean(0), each.std(0))])[None]

    def notes(self, audio: Tensor) -> list[Note]:
        """audio `[t]` -> the notes that are heard in it."""
        sounding, beginning = self.posteriors(audio)
        return notes_of(sounding, beginning, SAMPLE_RATE / HOP)

    def posteriors(self, audio: Tensor) -> list[np.ndarray]:
        """audio `[t]` -> for either output how likely each note is `[n 88]`, the windows' inner frames end to end."""
        step = KEPT * HOP
        count = max(1, -(-len(audio) // step))
        padded = nn.functional.pad(audio, (EDGE * HOP, (count - 1) * step + WINDOW - EDGE * HOP - len(audio)))
        windows = padded.unfold(0, WINDOW, step)[:count, :, None].numpy()
        found = self.session.run(self.outputs, {self.input: np.ascontiguousarray(windows)})
        frames = -(-len(audio) // HOP)
        return [np.concatenate(each[:, EDGE : EDGE + KEPT]).astype(np.float64)[:frames] for each in found]
