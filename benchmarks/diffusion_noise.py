"""Why diffusion ends in noise: one small case, one change at a time.

    python benchmarks/diffusion_noise.py waveform [--steps 300]
    python benchmarks/diffusion_noise.py terminal
    python benchmarks/diffusion_noise.py floor --data CORPUS
    python benchmarks/diffusion_noise.py weights [--steps 120]
    python benchmarks/diffusion_noise.py scale [--steps 120]
    python benchmarks/diffusion_noise.py bands --data CORPUS [--steps 200]

waveform: each row trains `waveform` (nano) on the same 4096 samples of plucked strings, whose deviation is 0.1, and
samples three seeds. distance: the error's share of the clip's energy; floor: mean power above 12 kHz beside that of all
frequencies (the clip has -120 dB there).
terminal: how much too bright mel images come out where the path doesn't end in pure noise: the network's answer to the
image's mean is known in closed form, the solver is ours.
floor: real music through mel images: what the lowest grey is decoded as, where 0 dB lies, and how phases are recovered.
weights, scale: each row trains `audio-diffusion` (nano) on one clip's latents, here its standardised image, and makes
two; with other weights of the levels, or with latents that are too strong or too weak for the path.
bands: each row trains `waveform` (tiny) on a corpus of 22,050 Hz, as it is or with its masks taken away, and measures
the data's error at some noise levels on held-out clips, the data having unit variance.
"""

import argparse
import dataclasses
import math
import sys
from functools import partial
from pathlib import Path
from statistics import mean, median

import torch
from common import machine, run, table
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / part) for part in ("", "systems")]
from overfitting import batch_of, distance, one_clip, train  # noqa: E402

from orchestrion.codecs.mel import MelImageConfig  # noqa: E402
from orchestrion.contracts import Conditioning  # noqa: E402
from orchestrion.corpus.corpus import Corpus  # noqa: E402
from orchestrion.corpus.datasets import AudioCrops  # noqa: E402
from orchestrion.errors import UserError  # noqa: E402
from orchestrion.evaluation.clips import held_out  # noqa: E402
from orchestrion.evaluation.flatness import flatness  # noqa: E402
from orchestrion.evaluation.level_spread import level_spread, octave_levels  # noqa: E402
from orchestrion.generators.diffusion import DiffusionOptions  # noqa: E402
from orchestrion.nn.band_denoiser import BandDenoiser, loudness  # noqa: E402
from orchestrion.objectives.diffusion import DenoiseConfig  # noqa: E402
from orchestrion.sampling.diffusion import ddim  # noqa: E402
from orchestrion.sampling.parameterisations import Prediction  # noqa: E402
from orchestrion.sampling.paths import Angle, Cosine, Level, Linear, ScaledLinear  # noqa: E402
from orchestrion.sampling.schedules import even  # noqa: E402
from orchestrion.sampling.weighting import MinSNR, Weighting  # noqa: E402
from orchestrion.systems.audio_diffusion import audio_diffusion  # noqa: E402
from orchestrion.systems.waveform import waveform  # noqa: E402

CASES: dict[str, tuple[float, Weighting]] = {
    "level 0.1, the clip's own": (0.1, Weighting()),
    "level 0.5": (0.5, Weighting()),
    "level 1, samples as they are": (1.0, Weighting()),
    "level 0.1, min-SNR weights": (0.1, MinSNR()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", choices=["waveform", "terminal", "floor", "weights", "scale", "bands"])
    parser.add_argument("--steps", type=int, help="of training")
    parser.add_argument("--data", type=Path, help="a corpus, for floor and bands")
    args = parser.parse_args()
    if args.study == "waveform":
        waveforms(args.steps or 300)
    elif args.study == "weights":
        images({"all alike": (Weighting(), 1.0), "min-SNR": (MinSNR(), 1.0)}, args.steps or 120)
    elif args.study == "scale":
        images({f"{scale:.3g} times": (Weighting(), scale) for scale in (0.04, 0.18, 1.0, 5.5, 25.0)},
               args.steps or 120)
    elif args.study == "terminal":
        terminal()
    elif args.data is None:
        raise UserError(f"{args.study} measures real music: give a corpus by --data")
    elif args.study == "bands":
        bands(args.data, args.steps or 200)
    else:
        mel_floor(args.data)


def waveforms(training: int) -> None:
    rows = []
    for name, (level, weighting) in CASES.items():
        recipe = waveform("nano").override("system.codec.level", str(level))
        stage = dataclasses.replace(recipe.stages[0], objective=DenoiseConfig(weighting=weighting))
        torch.manual_seed(0)
        system = recipe.system.build()
        clip = one_clip(system.codec, stage)
        clip = 0.1 * clip / clip.std()
        _, loss = train(system, stage, batch_of(clip, 4), training)
        for steps in (20, 100):
            latents = system.generator.sample(clip.shape[-1], Conditioning(), [1, 2, 3], DiffusionOptions(steps=steps))
            made = system.codec.decode(latents)
            rows.append([name, steps, loss, mean(distance(one[None], clip) for one in made), floor(made)])
    print(f"{training} steps of training; {machine()}\n")
    print(table(["", "sampling steps", "loss", "distance", "floor, dB"], rows))


def terminal() -> None:
    """A quiet image's mean, in units of its height -1 to 1, is normal around -0.8 with a deviation of 0.3. A network
    that has learned it perfectly sees it at the noisiest level if the path leaves any of it there; but sampling begins
    with noise whose mean is 0, which then says: an image of middle grey."""
    quiet, deviation = -0.8, 0.3
    rows = []
    for name, path in {"linear (published)": Linear(), "scaled linear": ScaledLinear(), "cosine": Cosine(),
                       "linear, zero terminal": Linear(zero_terminal=True), "angle (ours)": Angle()}.items():
        for side in (64, 256):
            grain = 1 / side  # deviation of the mean of as many pixels of noise

            def predict(x: Tensor, level: Level, grain: float = grain) -> Prediction:
                variance = (level.alpha * deviation) ** 2 + (level.sigma * grain) ** 2
                data = quiet + level.alpha * deviation**2 / variance * (x - level.alpha * quiet)
                return Prediction(data, (x - level.alpha * data) / level.sigma)

            begin = torch.zeros(1, 1, 1, dtype=torch.float64)
            made = ddim(predict, begin, even(path, 1000), partial(torch.zeros_like, begin)).item()
            rows.append([name, f"{side}x{side}", 20 * math.log10(max(path.level(path.end).ratio, 1e-9))
                         if path.level(path.end).alpha else "none", made, 40 * (made - quiet)])
    print("an image whose mean is -0.8, of 80 dB, begun from the most likely noise, 1000 steps of DDIM\n")
    print(table(["path", "image", "noise over signal at its end, dB", "mean made", "too bright, dB"], rows))


def mel_floor(data: Path) -> None:
    clips = [clip.audio.mean(0, keepdim=True) for clip in held_out(Corpus.open(data), 6, 8.0)]
    plain = MelImageConfig(sample_rate=44_100, bands=128, size=4096, hop=1024, depth=100.0)
    cases = {"ours: 100 dB, silence below": (plain, False), "80 dB": (dataclasses.replace(plain, depth=80.0), False),
             "60 dB": (dataclasses.replace(plain, depth=60.0), False),
             "60 dB, the lowest grey sounds": (dataclasses.replace(plain, depth=60.0), True),
             "80 dB below each clip's peak, the lowest grey sounds":
                 (dataclasses.replace(plain, depth=80.0, own_peak=True), True),
             "ours, phases as begun": (dataclasses.replace(plain, iterations=0), False),
             "ours, 32 iterations": (dataclasses.replace(plain, iterations=32), False)}
    rows = [["real", *levels(clips)]]
    for name, (config, sounds) in cases.items():
        codec = config.build()
        with torch.no_grad():
            images = [codec.encode(clip[None]) for clip in clips]
            if sounds:  # a hair above the lowest grey
                images = [image.clamp_min(((-1 + 2e-3) - codec.mean) / codec.deviation) for image in images]
            rows.append([name, *levels([codec.decode(image, clip.shape[-1])[0] for image, clip in zip(images, clips)])])
    print(f"6 clips of 8 s; {machine()}\n")
    print(table(["", "level that 10 % are below, dBFS an octave", "spread, dB an octave", "flatness"], rows))


def levels(clips: list[Tensor]) -> list[float]:
    octaves = [octave_levels(clip.mean(0), 44_100) for clip in clips]
    return [mean(float(torch.quantile(level, 0.1, dim=1).mean()) for level in octaves),
            mean(mean(level_spread(clip, 44_100)) for clip in clips), median(flatness(clip) for clip in clips)]


class Unmasked(BandDenoiser):
    """Tells what is to be added alone."""

    def forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        bands = x.mT
        return self.net(torch.cat([bands, loudness(bands)], -1), time).chunk(2, -1)[1].mT


def bands(data: Path, training: int) -> None:
    corpus, levels, rows = Corpus.open(data), (0.9, 0.7, 0.5, 0.3), []
    for name in ("as it is", "nothing masked, only added"):
        recipe = waveform("tiny").override("system.generator.guide", "null")
        stage = recipe.stages[0]
        torch.manual_seed(0)
        system = recipe.system.build()
        if corpus.sample_rate != system.codec.sample_rate:
            raise UserError(f"this study is of music at {system.codec.sample_rate} Hz: prepare {data} with "
                            f"--sample-rate {system.codec.sample_rate}")
        crops = AudioCrops(corpus, "train", round(stage.crop * corpus.sample_rate), 0)
        system.codec.begin(crops.batch(step, 4).audio for step in range(20))
        generator = system.generator
        if name != "as it is":
            generator.net.__class__ = Unmasked
        objective = stage.objective.build(system)
        optimiser = torch.optim.AdamW(generator.parameters(), stage.learning_rate, stage.betas, fused=True)
        for step in range(training):
            optimiser.param_groups[0]["lr"] = stage.learning_rate * min(1.0, (step + 1) / stage.warmup)
            torch.manual_seed(step)
            with torch.autocast("cpu", torch.bfloat16):
                ((_, terms),) = objective.losses(crops.batch(step, stage.batch), step)
            optimiser.zero_grad()
            terms["denoise"].backward()
            torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
            optimiser.step()
        errors = []
        with torch.no_grad():
            clips = [clip.audio.mean(0, keepdim=True)[None] for clip in held_out(corpus, 12, stage.crop)]
            latents = torch.cat([system.codec.encode(clip) for clip in clips])[..., : generator.config.context]
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
            for level in map(generator.config.path.level, levels):
                told = generator.predict(Conditioning())(level.alpha * latents + level.sigma * noise, level).data
                errors.append((told - latents).square().mean().item())
        rows.append([name, *errors])
    print(f"{training} steps of training on {corpus.name}; 12 held-out clips; {machine()}\n")
    print(table(["", *(f"error at time {level:g}" for level in levels)], rows))


def images(cases: dict[str, tuple[Weighting, float]], training: int) -> None:
    """Weights of the levels and the deviation of the latents, by name."""
    rows = []
    for name, (weighting, scale) in cases.items():
        recipe = audio_diffusion("nano")
        stage = dataclasses.replace(recipe.stages[0], objective=DenoiseConfig(weighting=weighting))
        torch.manual_seed(0)
        system = recipe.system.build()
        clip = one_clip(system.codec, stage)
        with torch.no_grad():
            image = system.codec.encode(clip)
        _, loss = train(system, stage, batch_of(clip, 4, latents=scale * image), training)
        made = system.generator.sample(image.shape[-1], Conditioning(), [0, 1], DiffusionOptions(steps=12))
        error = made / scale - image
        quiet = image <= image.quantile(0.25)
        rows.append([name, loss, float(error.square().mean() / image.var()), *(
            25 * float(error[place.expand_as(error)].square().mean().sqrt()) for place in (quiet, ~quiet))])
    print(f"{training} steps of training; {machine()}\n")
    print(table(["", "loss", "error, of the variance", "error of the darkest quarter, dB", "elsewhere, dB"], rows))


def floor(clips: Tensor, low: float = 12_000, sample_rate: int = 44_100) -> float:
    """Power above `low` Hz beside that of all frequencies, dB a bin."""
    power = torch.fft.rfft(clips * torch.hann_window(clips.shape[-1])).abs().square().flatten(0, -2).mean(0)
    first = int(low / sample_rate * clips.shape[-1])
    return 10 * torch.log10(power[first:].mean() / power.mean()).item()


if __name__ == "__main__":
    run(main)
