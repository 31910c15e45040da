"""Why diffusion on waveforms ends in noise: one clip, one small net, one change at a time.

    python benchmarks/diffusion_noise.py [--steps 300]

Each row trains `waveform` (nano) on the same 4096 samples of plucked strings, whose deviation is 0.1, and samples
three seeds. distance: the error's share of the clip's energy; floor: mean power above 12 kHz beside that of all
frequencies (the clip has -120 dB there).
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from statistics import mean

import torch
from common import machine, run, table
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / part) for part in ("", "systems")]
from overfitting import batch_of, distance, one_clip, train  # noqa: E402

from orchestrion.contracts import Conditioning  # noqa: E402
from orchestrion.generators.diffusion import DiffusionOptions  # noqa: E402
from orchestrion.objectives.diffusion import DenoiseConfig  # noqa: E402
from orchestrion.sampling.weighting import MinSNR, Weighting  # noqa: E402
from orchestrion.systems.waveform import waveform  # noqa: E402

CASES: dict[str, tuple[float, Weighting]] = {
    "level 0.1, the clip's own": (0.1, Weighting()),
    "level 0.5": (0.5, Weighting()),
    "level 1, samples as they are": (1.0, Weighting()),
    "level 0.1, min-SNR weights": (0.1, MinSNR()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300, help="of training")
    args = parser.parse_args()
    rows = []
    for name, (level, weighting) in CASES.items():
        recipe = waveform("nano").override("system.codec.level", str(level))
        stage = dataclasses.replace(recipe.stages[0], objective=DenoiseConfig(weighting=weighting))
        torch.manual_seed(0)
        system = recipe.system.build()
        clip = one_clip(system.codec, stage)
        clip = 0.1 * clip / clip.std()
        _, loss = train(system, stage, batch_of(clip, 4), args.steps)
        for steps in (20, 100):
            latents = system.generator.sample(clip.shape[-1], Conditioning(), [1, 2, 3], DiffusionOptions(steps=steps))
            made = system.codec.decode(latents)
            rows.append([name, steps, loss, mean(distance(one[None], clip) for one in made), floor(made)])
    print(f"{args.steps} steps of training; {machine()}\n")
    print(table(["", "sampling steps", "loss", "distance", "floor, dB"], rows))


def floor(clips: Tensor, low: float = 12_000, sample_rate: int = 44_100) -> float:
    """Power above `low` Hz beside that of all frequencies, dB a bin."""
    power = torch.fft.rfft(clips * torch.hann_window(clips.shape[-1])).abs().square().flatten(0, -2).mean(0)
    first = int(low / sample_rate * clips.shape[-1])
    return 10 * torch.log10(power[first:].mean() / power.mean()).item()


if __name__ == "__main__":
    run(main)
