"""What RAVE's second stage did: held-out music through the model after stage one and after stage two.

    python benchmarks/rave_stages.py ONE TWO --data CORPUS [--clips 16] [--seconds 5] [--picture stages.png]

ONE and TWO are model folders, the first kept before the second stage began; a run's folder holds the latest under
`model`. Energy above 6 kHz is to be within 3 dB of the music's, and the multi-resolution STFT distance may rise by at
most 15 %. Also: what bfloat16 adds to float32 in decoding with these weights, at most -40 dB.
"""

import argparse

import torch
from common import count, duration, machine, run, table
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.audio.plots import plot_spectrograms
from orchestrion.corpus.corpus import Corpus
from orchestrion.corpus.datasets import AudioCrops
from orchestrion.evaluation.multi_resolution import MultiResolution
from orchestrion.playing import Model

EDGE = 6000.0  # Hz
MOST_OFF, MOST_RISE, MOST_HALF = 3.0, 0.15, -40.0  # dB, share, dB


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs=2, metavar="MODEL")
    parser.add_argument("--data", required=True, help="the corpus; its validation pieces count")
    parser.add_argument("--clips", type=count, default=16)
    parser.add_argument("--seconds", type=duration, default=5.0)
    parser.add_argument("--picture", help="spectrograms (png) of the first two clips, as played and through both")
    args = parser.parse_args()

    corpus = Corpus.open(args.data)
    crops = AudioCrops(corpus, "validation", round(args.seconds * corpus.sample_rate), seed=0).batch(0, args.clips)
    assert crops.audio is not None
    real = [Audio(clip, corpus.sample_rate) for clip in crops.audio]
    rows, columns = [["the music", "", level_above(real, EDGE), "", ""]], [real]
    distances, off, halves = [], 0.0, []
    for name in args.models:
        model = Model.load(name, dtype="float32")
        made = [model.reconstruct(clip) for clip in real]
        figure = MultiResolution()([c.samples for c in real], [c.samples for c in made], corpus.sample_rate)[0]
        level = level_above(made, EDGE)
        off, half = level - rows[0][2], half_error(model, real[0])
        distances.append(figure.value)
        halves.append(half)
        columns.append(made)
        rows.append([name, figure.value, level, off, half])
    print(machine(), table(("", "STFT distance", "above 6 kHz, dB", "off by, dB", "bfloat16, dB"), rows), sep="\n\n")
    rise = distances[1] / distances[0] - 1
    print(f"\nthe distance changed by {rise:+.1%}; {len(real)} clips of {args.seconds:g} s")
    if args.picture:
        clips = [column[i] for i in range(2) for column in columns]
        plot_spectrograms(clips, args.picture, ["as played", "after stage one", "after stage two"] * 2, columns=3)
    return int(abs(off) > MOST_OFF or rise > MOST_RISE or max(halves) > MOST_HALF)


def level_above(clips: list[Audio], edge: float) -> float:
    """Mean power above `edge` Hz, over all clips, in dB under full scale."""
    total = torch.stack([power_above(clip.samples, clip.sample_rate, edge) for clip in clips]).mean()
    return float(10 * total.clamp_min(1e-20).log10())


def power_above(samples: Tensor, rate: int, edge: float) -> Tensor:
    """Samples `[c t]` -> mean square of what lies above `edge` Hz."""
    spectrum = torch.fft.rfft(samples.double()).abs().square()
    first = round(edge * samples.shape[-1] / rate)
    return 2 * spectrum[..., first:].sum(-1).mean() / samples.shape[-1] ** 2


def half_error(model: Model, clip: Audio) -> float:
    """Decoding the same latents in bfloat16: the difference from float32, in dB under the sound."""
    latents = model.encode(clip)
    with torch.inference_mode():
        whole = model.system.codec.decode(latents)
        with torch.autocast("cpu", torch.bfloat16):
            half = model.system.codec.decode(latents).float()
    return float(10 * ((half - whole).square().mean() / whole.square().mean()).log10())


if __name__ == "__main__":
    run(main)
