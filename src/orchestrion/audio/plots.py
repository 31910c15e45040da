"""Pictures of sound: constant-Q spectrograms in which single notes can be seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from orchestrion.audio.spectra import ConstantQ
from orchestrion.storage import replacing

if TYPE_CHECKING:
    from orchestrion.audio.sound import Audio

RANGE_DB = 70.0


def plot_spectrograms(clips: "Sequence[Audio]", path: str | Path, titles: Sequence[str] | None = None,
                      columns: int = 2) -> Path:
    """One picture (PNG) of all clips: 27.5 Hz to 16 kHz on a logarithmic axis, 36 bins an octave.

    Side by side, `columns` to a row; each from its own peak to 70 dB below. Channels are mixed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = titles or [f"{clip.duration:.1f} s" for clip in clips]
    columns = min(columns, len(clips))
    rows = -(-len(clips) // columns)
    figure = Figure(figsize=(max(8.0, 7.0 * columns), 4.2 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for index, (clip, title) in enumerate(zip(clips, titles)):
        axes = figure.add_subplot(rows, columns, index + 1)
        frequencies, level = decibel_spectrogram(clip)
        image = axes.pcolormesh(torch.linspace(0, clip.duration, level.shape[1]).numpy(),
                                frequencies.numpy(), level.numpy(), cmap="magma", vmin=-RANGE_DB, vmax=0,
                                shading="nearest", rasterized=True)
        axes.set_yscale("log")
        octaves = [55 * 2**i for i in range(9) if 55 * 2**i <= frequencies[-1]]
        axes.set_yticks(octaves, [f"{f} Hz" if f < 1000 else f"{f / 1000:.1f} kHz" for f in octaves])
        axes.minorticks_off()
        axes.set_title(title)
        axes.set_xlabel("s")
        if index % columns == columns - 1:
            figure.colorbar(image, ax=axes, label="dB", pad=0.01)
    with replacing(path) as part:
        figure.savefig(part, format="png")
    return Path(path)


def decibel_spectrogram(clip: "Audio", columns: int = 1600) -> tuple[torch.Tensor, torch.Tensor]:
    """-> frequencies `[bins]` and levels `[bins n]` in dB under the clip's peak, n near `columns` at most."""
    hop = max(512, 2 ** round(torch.tensor(max(1, clip.samples.shape[1] / columns)).log2().item()))
    transform = ConstantQ(clip.sample_rate, hop=hop)
    magnitude = transform(clip.samples.mean(0))
    level = 20 * (magnitude / magnitude.max().clamp_min(1e-9)).clamp_min(1e-9).log10()
    return transform.frequencies, level
