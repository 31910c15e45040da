"""How many steps does a model need? The same seeds in few steps and many, beside its exact path.

    python benchmarks/few_steps.py MODEL [--steps 4 6 8 10 50] [--solver SOLVER] [--clips 6]

latents: root mean square distance from 40 steps of Heun, relative to their deviation; log-mel: mean distance of
the sounds' 80 mel bands. spread and flatness are of the clips themselves (see background_noise.py).
"""

import argparse
from statistics import mean, stdev

import torch
from common import count, duration, machine, run, table
from torch import Tensor

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.evaluation.flatness import flatness
from orchestrion.evaluation.level_spread import level_spread
from orchestrion.playing.model import Model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--steps", type=count, nargs="+", default=[4, 6, 8, 10, 50])
    parser.add_argument("--solver", help="instead of the model's own")
    parser.add_argument("--clips", type=count, default=6)
    parser.add_argument("--seconds", type=duration, default=5.0)
    args = parser.parse_args()
    model = Model.load(args.model)
    seeds = list(range(args.clips))

    def made(steps: int, solver: str | None) -> tuple[Tensor, list[Tensor]]:
        options = {"steps": steps} | ({"solver": solver} if solver else {})
        latents = model.sample([None] * len(seeds), args.seconds, seeds, model.options(options)).float()
        return latents, [model.decode(clip, seed=seed).samples for seed, clip in zip(seeds, latents.split(1))]

    exact, sounds = made(40, "heun")
    rows = []
    for steps in args.steps:
        latents, clips = made(steps, args.solver)
        off = ((latents - exact).square().flatten(1).mean(1) / exact.var()).sqrt().tolist()
        heard = [float((log_mel(clip, model.sample_rate) - log_mel(sound, model.sample_rate)).abs().mean())
                 for clip, sound in zip(clips, sounds)]
        rows.append([steps, interval(off), interval(heard), interval(
            [mean(level_spread(clip, model.sample_rate)) for clip in clips]), interval([flatness(c) for c in clips])])
    print(f"{args.model}: {args.clips} clips of {args.seconds:g} s; {machine()}\n")
    print(table(["steps", "latents", "log-mel, dB", "spread, dB", "flatness"], rows))


def log_mel(clip: Tensor, sample_rate: int) -> Tensor:
    """Clip `[c t]` -> dB `[80 n]`, floored at -80."""
    spectrum = torch.stft(clip.mean(0), 2048, 512, window=torch.hann_window(2048), return_complex=True).abs()
    return 20 * (mel_filterbank(sample_rate, 2048, 80) @ spectrum).clamp_min(1e-4).log10()


def interval(values: list[float]) -> str:
    """Mean and the half width of its 95 % interval over clips."""
    half = 1.96 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{mean(values):.3g} ± {half:.2g}"


if __name__ == "__main__":
    run(main)
