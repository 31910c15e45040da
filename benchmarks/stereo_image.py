"""How near a codec's stereo comes to the original's, beside Opus and beside mono.

    python benchmarks/stereo_image.py MODEL... --data CORPUS [--program 0] [--picture FILE]

Held-out clips of 10 s by the fixed rule of `orchestrion.evaluation.clips.held_out`, of a corpus of two channels.
"mono" is the original's own mix on both channels: what a perfect mono codec gives.

- log-mel L1: of the left and of the right channel, the mean of both (neper).
- width: level of the side over the middle's, the mean difference from the original's; `|width|`: of its size (dB).
- balance: of the left channel's level over the right's, the mean size of the difference (dB).
- coherence: of |Σ L R*| / √(Σ|L|² Σ|R|²), the mean size of the difference.

The last three by octaves from 55 Hz and tenths of a second, where the original is less than 50 dB under its loudest;
levels are limited to 30 dB of difference between two channels, which hear as one alone.
"""

import argparse
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import mean

import torch
from common import count, machine, run, table
from opus import opus
from PIL import Image
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.audio.plots import plot_spectrograms
from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError
from orchestrion.evaluation.clips import held_out
from orchestrion.evaluation.log_mel import log_mel_l1
from orchestrion.playing.model import Model

WINDOW, HOP, TENTH = 4096, 1024, 4  # frames a tile
LOWEST, OCTAVES = 55.0, 8
FAR, QUIET = 30.0, 50.0  # dB


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--data", required=True, help="a prepared corpus of two channels")
    parser.add_argument("--clips", type=count, default=24)
    parser.add_argument("--picture", type=Path, help="also draw left, right and side of the second and third clip, "
                        "real and by the first model, as this file")
    parser.add_argument("--program", type=int, help="of pieces with this General MIDI program alone")
    args = parser.parse_args()

    corpus = Corpus.open(args.data)
    if corpus.channels != 2:
        raise UserError(f"{args.data} is mono: prepare a corpus with --channels 2")
    accept = lambda piece: args.program is None or piece.attributes.get("program", 0) == args.program  # noqa: E731
    clips = [clip.audio for clip in held_out(corpus, args.clips, accept=accept)]
    contenders: dict[str, Callable[[Tensor], Tensor]] = {
        "mono": lambda clip: clip.mean(0, keepdim=True).expand(2, -1),
        **{f"Opus {rate}": lambda clip, rate=rate: opus(clip, corpus.sample_rate, rate)[0] for rate in (12, 24, 48)},
        **{name: through(name, corpus.sample_rate) for name in args.models}}
    rows = []
    for name, contender in contenders.items():
        found = [compare(clip, contender(clip), corpus.sample_rate) for clip in clips]
        rows.append([name, *(mean(values) for values in zip(*found))])
    if args.picture and args.models:
        draw(clips[1:3], contenders[args.models[0]], corpus.sample_rate, args.picture)
    print(f"{len(clips)} held-out clips of 10 s, {corpus.name}; {machine()}\n")
    print(table(["", "log-mel L1", "width, dB", "|width|, dB", "balance, dB", "coherence"], rows))


def through(name: str, sample_rate: int) -> Callable[[Tensor], Tensor]:
    """A codec as it plays, without the peak policy, which could change levels."""
    model = Model.load(name)
    if model.sample_rate != sample_rate:
        raise UserError(f"{name} works at {model.sample_rate} Hz, the corpus is at {sample_rate} Hz: prepare it again")

    def contend(clip: Tensor) -> Tensor:
        audio = Audio(clip, sample_rate).to_channels(model.channels)
        made = torch.cat(list(model.stream(model.encode(audio), clip.shape[-1])), -1)
        return Audio(made, sample_rate).to_channels(2).samples
    return contend


def draw(clips: list[Tensor], contender: Callable[[Tensor], Tensor], sample_rate: int, picture: Path) -> None:
    sounds, titles = [], []
    for clip in clips:
        for name, (left, right) in (("real", clip), ("made", contender(clip))):
            sounds += [Audio(channel[None], sample_rate) for channel in (left, right, (left - right) / 2)]
            titles += [f"{name}, {part}" for part in ("left", "right", "side")]
    with tempfile.TemporaryDirectory() as folder:
        image = Image.open(plot_spectrograms(sounds, Path(folder, "stereo.png"), titles, columns=3)).convert("RGB")
        image.thumbnail((1800, 1800))
        image.save(picture, quality=60)


def compare(real: Tensor, made: Tensor, sample_rate: int) -> list[float]:
    mels = mean(log_mel_l1(real[c], made[c], sample_rate) for c in range(2))
    (ours, width, balance, coherence), (_, width2, balance2, coherence2) = (tiles(x, sample_rate) for x in (real, made))
    heard = ours > ours.max() - QUIET
    wider = (width2 - width)[heard]
    return [mels, wider.mean().item(), wider.abs().mean().item(), (balance2 - balance)[heard].abs().mean().item(),
            (coherence2 - coherence)[heard].abs().mean().item()]


def tiles(audio: Tensor, sample_rate: int) -> tuple[Tensor, ...]:
    """audio `[2 t]` -> level, width and balance in dB, coherence, all `[octaves n]`."""
    spectrum = torch.stft(audio.double(), WINDOW, HOP, window=torch.hann_window(WINDOW).double(), return_complex=True)
    left, right = spectrum[..., : spectrum.shape[-1] // TENTH * TENTH]
    hertz = torch.arange(WINDOW // 2 + 1) * sample_rate / WINDOW
    bands = [(hertz >= low) & (hertz < high) for low, high in pairwise(LOWEST * 2.0 ** torch.arange(OCTAVES + 1))]

    def summed(x: Tensor) -> Tensor:
        return torch.stack([x[band].unflatten(-1, (-1, TENTH)).sum((0, -1)) for band in bands])

    middle, side, l, r = (summed(x.abs().square()) for x in ((left + right) / 2, (left - right) / 2, left, right))
    coherence = summed(left * right.conj()).abs() / (l * r).sqrt().clamp_min(1e-30)
    width, balance = ((decibels(x) - decibels(y)).clamp(-FAR, FAR) for x, y in ((side, middle), (l, r)))
    return decibels(l + r), width, balance, coherence


def decibels(power: Tensor) -> Tensor:
    return 10 * power.clamp_min(1e-12).log10()


if __name__ == "__main__":
    run(main)
