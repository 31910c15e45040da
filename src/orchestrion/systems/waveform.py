"""Waveform: diffusion on the samples themselves with Moûsai's U-Net, no codec at all.

    noise ── U-Net, v-diffusion ──► audio

`paper` is the unconditional generator of audio-diffusion-pytorch's README (0.1.3, on arXiv 2301.11757), layer by layer;
its weights' layout is read by `interchange/mousai.py`. The samples are divided by the codec's `level`, their deviation:
set it to your corpus's (`--set system.codec.level=0.08`).

`tiny` is for an hour of two cores, where that U-Net learns the music's colour and no note: its samples, of 22.05 kHz,
are split into the bands of an MDCT, and a transformer tells what share of each is music (docs/diffusion-noise.md).
"""

from dataclasses import replace
from typing import Literal

from orchestrion.codecs.waveform import WaveformConfig
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.band_denoiser import BandDenoiserConfig
from orchestrion.nn.unet1d import UNet1dConfig
from orchestrion.nn.unet1d_denoiser import UNet1dDenoiserConfig
from orchestrion.objectives.diffusion import DenoiseConfig
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

CODECS = {
    "nano": WaveformConfig(),
    "tiny": WaveformConfig(),
    "small": WaveformConfig(channels=2),
    "paper": WaveformConfig(sample_rate=48_000, channels=2),
}
NETS = {
    "nano": UNet1dConfig(channels=(16, 32, 48, 64), factors=(4, 4, 4, 4), items=(1, 1, 1, 1), attentions=(0, 0, 0, 1),
                         heads=2, head_width=32, features=64),
    "tiny": UNet1dConfig(channels=(16, 32, 64, 128, 256, 256), factors=(2, 4, 4, 4, 2, 2), items=(1, 1, 1, 2, 2, 2),
                         attentions=(0, 0, 0, 0, 1, 1), heads=4, features=256),
    "small": UNet1dConfig(channels=(8, 32, 64, 128, 256, 512, 512), factors=(1, 4, 4, 4, 2, 2, 2),
                          items=(1, 2, 2, 2, 2, 2, 2), attentions=(0, 0, 0, 0, 0, 1, 1), features=512),
    "paper": UNet1dConfig(channels=(8, 32, 64, 128, 256, 512, 512, 1024, 1024), factors=(1, 4, 4, 4, 2, 2, 2, 2, 2),
                          items=(1, 2, 2, 2, 2, 2, 2, 4, 4), attentions=(0, 0, 0, 0, 0, 1, 1, 1, 1)),
}
CONTEXT = {"nano": 2**12, "tiny": 2**16, "small": 2**17, "paper": 2**18}  # samples
STEPS = {"nano": 300, "tiny": 10_000, "small": 300_000, "paper": 1_000_000}
BATCH = {"nano": 4, "tiny": 8, "small": 16, "paper": 32}


@system("waveform", sizes=("nano", "tiny", "small", "paper"))
def waveform(size: str) -> Recipe:
    if size == "tiny":
        return banded()
    codec, context = CODECS[size], CONTEXT[size]
    generator = DiffusionConfig(net=UNet1dDenoiserConfig(levels=NETS[size]), context=context, overlap=context // 8)
    return Recipe(system=SystemConfig(codec=codec, generator=generator),
                  stages=(diffusion_stage(size, context / codec.sample_rate, STEPS[size], BATCH[size]),))


def banded() -> Recipe:
    codec = WaveformConfig(sample_rate=22_050, bands=1024)
    generator = DiffusionConfig(net=BandDenoiserConfig(), guide=BandDenoiserConfig(width=192, depth=3, heads=6),
                                guide_scale=2.0, guide_until=1.0, context=128, overlap=16)
    stage = diffusion_stage("tiny", generator.context * codec.bands / codec.sample_rate, 4_500, BATCH["tiny"])
    return Recipe(system=SystemConfig(codec=codec, generator=generator),
                  stages=(replace(stage, learning_rate=1e-3, warmup=100, ema=0.999),))


def diffusion_stage(size: str, crop: float, steps: int, batch: int, on: Literal["audio", "latents"] = "audio",
                    along: tuple[str, ...] = ()) -> Stage:
    """v-diffusion with the authors' optimiser; Moûsai's other pages use it too. Smaller sizes learn faster."""
    rate = {"nano": 3e-3, "tiny": 5e-4, "small": 2e-4}.get(size, 1e-4)
    return Stage(name="diffusion", trains="generator", along=along, on=on, objective=DenoiseConfig(), crop=crop,
                 batch=batch, steps=steps, learning_rate=rate, betas=(0.95, 0.999), weight_decay=1e-3,
                 warmup=min(500, steps // 10), schedule="constant" if size == "paper" else "cosine",
                 ema=0.995 if size == "nano" else 0.9995)
