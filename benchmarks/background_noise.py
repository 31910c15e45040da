"""Does a model's music end in background noise? Its clips beside real ones, octave by octave.

    python benchmarks/background_noise.py MODEL --data CORPUS [--bar 6] [--clips 8] [--picture out.png]

spread: the 50th less the 10th percentile of an octave's level over time (floored at -70 dBFS): notes that decay and
stop make it wide, hum and hiss narrow. flatness: 0 for a few pure partials, 1 for white noise. Bars: every octave's
spread within 6 dB of real clips' (mel models; 12 dB for waveform models), flatness at most 1.5 times theirs.
"""

import argparse
from pathlib import Path
from statistics import mean, median

from common import count, duration, machine, run, table

from orchestrion.audio import Audio
from orchestrion.audio.plots import plot_spectrograms
from orchestrion.corpus.corpus import Corpus
from orchestrion.evaluation.clips import held_out
from orchestrion.evaluation.flatness import flatness
from orchestrion.evaluation.level_spread import LOWEST, OCTAVES, level_spread
from orchestrion.playing.model import Model

FLATNESS = 1.5  # times real


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--data", type=Path, required=True, help="the corpus: its validation and test pieces are real")
    parser.add_argument("--bar", type=float, default=6.0, help="dB between the spreads")
    parser.add_argument("--clips", type=count, default=8)
    parser.add_argument("--seconds", type=duration, default=10.0)
    parser.add_argument("--steps", type=count, help="of sampling")
    parser.add_argument("--picture", type=Path, help="spectrograms of two real and two made clips (png)")
    args = parser.parse_args()

    model = Model.load(args.model)
    corpus = Corpus.open(args.data)
    real = [Audio(clip.audio.mean(0, keepdim=True), corpus.sample_rate).resample(model.sample_rate).samples
            for clip in held_out(corpus, args.clips, args.seconds)]
    options = {"steps": args.steps} if args.steps else None
    made = [model.generate(None, args.seconds, seed, options).samples for seed in range(args.clips)]
    codec = [model.decode(model.encode(Audio(clip, model.sample_rate)), clip.shape[-1]).samples for clip in real]
    groups = {"real": real, "through the codec": codec, "made": made}
    spreads = {name: [mean(octave) for octave in zip(*(level_spread(clip, model.sample_rate) for clip in clips))]
               for name, clips in groups.items()}
    flat = {name: median(flatness(clip) for clip in clips) for name, clips in groups.items()}
    print(f"{args.model}: {args.clips} clips of {args.seconds:g} s; {machine()}\n")
    rows, failed = [], 0
    for octave in range(OCTAVES):
        there, through, here = (spreads[name][octave] for name in groups)
        holds = abs(here - there) <= args.bar
        failed += not holds
        rows.append([f"spread from {LOWEST * 2**octave:.0f} Hz, dB", there, through, here,
                     "PASS" if holds else "FAIL"])
    holds = flat["made"] <= FLATNESS * flat["real"]
    failed += not holds
    rows.append(["flatness", *flat.values(), "PASS" if holds else "FAIL"])
    print(table(["", *groups, ""], rows))
    if args.picture:
        clips = [Audio(clip, model.sample_rate) for clip in (*real[:2], *made[:2])]
        print(plot_spectrograms(clips, args.picture, ["real", "real", "made", "made"]))
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
