"""Every distance between originals and their reconstructions, in one call."""

from collections.abc import Sequence

import torch
from torch import Tensor

from orchestrion.contracts import Metric
from orchestrion.evaluation.constant_q import ConstantQL1
from orchestrion.evaluation.log_mel import LogMelL1
from orchestrion.evaluation.multi_resolution import MultiResolution
from orchestrion.evaluation.si_sdr import SISDR
from orchestrion.evaluation.signals import Clip
from orchestrion.evaluation.spectral_convergence import SpectralConvergence

DISTANCES: tuple[Metric, ...] = (LogMelL1(), MultiResolution(), ConstantQL1(), SpectralConvergence(), SISDR())


def distances(real: Clip | Sequence[Clip], made: Clip | Sequence[Clip], sample_rate: int,
              metrics: Sequence[Metric] = DISTANCES) -> dict[str, float]:
    """{name: value} over one pair of clips `[c t]`, or over a list of each. For training demos:

        distances(batch.audio, reconstruction.audio, 44_100)["constant-Q L1"]
    """
    first, second = _clips(real), _clips(made)
    return {figure.name: figure.value for metric in metrics for figure in metric(first, second, sample_rate)}


def _clips(clips: Clip | Sequence[Clip]) -> list[Tensor]:
    """One clip `[c t]` as a list of one; a batch `[b c t]` as a list of clips."""
    if isinstance(clips, Sequence):
        return [torch.as_tensor(clip) for clip in clips]
    tensor = torch.as_tensor(clips)
    return [tensor] if tensor.ndim < 3 else list(tensor)
