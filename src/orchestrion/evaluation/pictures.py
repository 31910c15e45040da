"""Small spectrogram pictures, all on one scale, so that they can be compared side by side."""

from pathlib import Path

import numpy as np

from orchestrion.audio import Audio
from orchestrion.audio.spectra import LogMel
from orchestrion.storage import replacing

WIDTH, HEIGHT = 320, 128  # pixels: time, mel bands
TOP_DB, RANGE_DB = 0.0, 80.0  # a full-scale sine, and how far below it black lies
LOW, HIGH = 30.0, 16_000.0  # Hz


def spectrogram(clip: Audio) -> np.ndarray:
    """-> levels in dB `[128 320]`, low to high, a full-scale sine at about 0."""
    window = 4096
    mono = clip.to_channels(1)
    hop = 512
    log_mel = LogMel(clip.sample_rate, window, hop, HEIGHT, LOW, min(HIGH, clip.sample_rate / 2), scale="htk")
    levels = (log_mel(mono.samples[0]) - np.log(window / 4)).numpy() * 20 / np.log(10)
    columns = np.linspace(0, levels.shape[1] - 1, WIDTH).round().astype(int)
    return levels[:, columns]


def draw_spectrogram(clip: Audio, path: Path) -> Path:
    """A PNG of 256 colours, low pitches at the bottom, silence black."""
    import matplotlib
    from PIL import Image

    share = np.clip((spectrogram(clip) - TOP_DB + RANGE_DB) / RANGE_DB, 0, 1)
    picture = Image.fromarray(np.round(255 * share[::-1]).astype(np.uint8))
    colours = (255 * matplotlib.colormaps["magma"](np.arange(256))[:, :3]).round().astype(np.uint8)
    picture = picture.convert("P")
    picture.putpalette(colours.flatten().tolist())
    with replacing(path) as part:
        picture.save(part, optimize=True)
    return path
