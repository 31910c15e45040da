"""audio-diffusion (teticio, 2022): diffusion of mel images by a 2-D U-Net.

    noise ── U-Net, some steps ──► mel image [b 1 f n] ── phase recovery ──► audio

`paper` is the published model, its noise predicted over DDPM's linear schedule. The others predict v on a path that
ends in pure noise, so that the network learns to make silence too (see docs/diffusion.md). `tiny` is led away from a
guide: an hour of training leaves its notes blurred (docs/diffusion-noise.md).
"""

from orchestrion.codecs.mel import MelImageConfig
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.unet2d import UNet2dConfig
from orchestrion.objectives.diffusion import DenoiseConfig
from orchestrion.sampling.parameterisations import PredictsNoise
from orchestrion.sampling.paths import Linear
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

CODECS = {
    "nano": MelImageConfig(sample_rate=44_100, bands=32, size=4096, hop=1024, depth=100.0),
    "tiny": MelImageConfig(sample_rate=44_100, bands=128, size=4096, hop=1024, depth=100.0),
    "small": MelImageConfig(sample_rate=44_100, bands=256, size=4096, hop=1024, depth=100.0),
    "paper": MelImageConfig(own_peak=True),
}
GENERATORS = {
    "nano": DiffusionConfig(
        net=UNet2dConfig(channels=(32, 32, 64), attention=(False, False, True), layers=1, groups=8),
        context=32, overlap=8),
    "tiny": DiffusionConfig(
        net=UNet2dConfig(channels=(64, 96, 128), attention=(False, True, True), layers=1, groups=16,
                         head_width=32, patch=4),
        guide=UNet2dConfig(channels=(32, 48, 64), attention=(False, False, True), layers=1, groups=16, head_width=32,
                           patch=4), context=128, overlap=32),
    "small": DiffusionConfig(
        net=UNet2dConfig(channels=(64, 128, 192, 256, 320), attention=(False, False, False, True, True),
                         head_width=64), context=256, overlap=64),
    "paper": DiffusionConfig(net=UNet2dConfig(), path=Linear(), parameterisation=PredictsNoise(), context=256,
                             overlap=64, limit=1.0),
}


@system("audio-diffusion", sizes=("nano", "tiny", "small", "paper"))
def audio_diffusion(size: str) -> Recipe:
    codec, generator = CODECS[size], GENERATORS[size]
    steps, batch, rate = {"nano": (300, 4, 2e-3), "tiny": (1_300, 8, 1e-3), "small": (100_000, 16, 2e-4),
                          "paper": (100_000, 16, 1e-4)}[size]
    crop = generator.context * codec.hop / codec.sample_rate
    stage = Stage(name="diffusion", trains="generator", objective=DenoiseConfig(), crop=crop, batch=batch,
                  steps=steps, learning_rate=rate, betas=(0.95, 0.999), weight_decay=1e-6,
                  warmup=min(500, steps // 10), ema=0.9999 if size in ("small", "paper") else 0.999)
    return Recipe(system=SystemConfig(codec=codec, generator=generator), stages=(stage,))
