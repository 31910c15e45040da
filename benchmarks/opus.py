"""Opus by its own command-line tools (Debian `opus-tools`; for measuring only)."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from orchestrion.errors import UserError


def opus(audio: Tensor, sample_rate: int, kilobits: int) -> tuple[Tensor, int]:
    """audio `[c t]`, mono or stereo -> (the same length decoded, bits of the file).

    16-bit WAV in, default settings (variable bit rate, full complexity), decoded to floating point at the
    original rate, so that the tools take care of delay and resampling.
    """
    for tool in ("opusenc", "opusdec"):
        if shutil.which(tool) is None:
            raise UserError(f"{tool} is not installed: on Debian, `apt-get install opus-tools`")
    with tempfile.TemporaryDirectory() as folder:
        original, coded, decoded = (str(Path(folder, name)) for name in ("in.wav", "x.opus", "out.wav"))
        soundfile.write(original, audio.T.numpy(), sample_rate, subtype="PCM_16")
        subprocess.run(["opusenc", "--quiet", "--bitrate", str(kilobits), original, coded], check=True)
        subprocess.run(["opusdec", "--quiet", "--rate", str(sample_rate), "--float", coded, decoded],
                       check=True, stderr=subprocess.DEVNULL)
        samples, _ = soundfile.read(decoded, dtype="float32", always_2d=True)
        bits = 8 * Path(coded).stat().st_size
    length = audio.shape[-1]
    padded = np.pad(samples, ((0, max(0, length - len(samples))), (0, 0)))[:length]
    return torch.from_numpy(padded.T.copy()), bits
