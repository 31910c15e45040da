"""Conditional audio-diffusion (teticio, 2022): mel images by diffusion, steered by what another sound is like.

    a sound ── audio encoder ──► 100 numbers ──┐ cross-attention
    noise ── U-Net, some steps ◄───────────────┘ ──► mel image [b 1 f n] ── phase recovery ──► audio

    orchestrion generate MODEL --like song.wav --cfg-scale 2

The published encoder knows playlists and comes trained; the smaller ones here learn along with the U-Net, each clip
steered by itself. `paper` is the published layout; its encoder's weights come by `orchestrion import`.
"""

from orchestrion.conditioners.audio_encoder import AudioEncoderConfig
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.unet2d import UNet2dConfig
from orchestrion.objectives.heard_diffusion import HeardDenoiseConfig
from orchestrion.sampling.parameterisations import PredictsNoise
from orchestrion.sampling.paths import Linear
from orchestrion.systems.audio_diffusion import CODECS
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

SMALLER = AudioEncoderConfig(sample_rate=44_100, bands=64, columns=64, size=4096, hop=1024, widths=(16, 32, 64),
                             hidden=256)
ENCODERS = {
    "nano": AudioEncoderConfig(sample_rate=44_100, bands=32, columns=32, size=4096, hop=1024, widths=(8, 16, 32),
                               hidden=64, width=32),
    "tiny": SMALLER,
    "small": SMALLER,
    "paper": AudioEncoderConfig(),
}
GENERATORS = {
    "nano": DiffusionConfig(net=UNet2dConfig(channels=(32, 32, 64), attention=(False, False, True), layers=1, groups=8,
                                             head_width=2, cross=32), context=32, overlap=8),
    "tiny": DiffusionConfig(net=UNet2dConfig(channels=(64, 96, 128), attention=(False, True, True), layers=1, groups=16,
                                             head_width=4, cross=100, patch=4), context=128, overlap=32),
    "small": DiffusionConfig(net=UNet2dConfig(channels=(64, 128, 192, 256, 320), cross=100,
                                              attention=(False, False, True, True, True)), context=256, overlap=64),
    "paper": DiffusionConfig(net=UNet2dConfig(channels=(128, 256, 512, 512), attention=(True, True, True, False),
                                              cross=100), path=Linear(), parameterisation=PredictsNoise(),
                             context=256, overlap=64, limit=1.0),
}


@system("conditional-audio-diffusion", sizes=("nano", "tiny", "small", "paper"))
def conditional_audio_diffusion(size: str) -> Recipe:
    codec, generator = CODECS[size], GENERATORS[size]
    steps, batch, rate = {"nano": (300, 4, 2e-3), "tiny": (1_300, 8, 1e-3), "small": (100_000, 16, 2e-4),
                          "paper": (100_000, 16, 1e-4)}[size]
    objective = HeardDenoiseConfig(mixed=0.0)
    stage = Stage(name="diffusion", trains="generator", along=("conditioner",), objective=objective, batch=batch,
                  crop=generator.context * codec.hop / codec.sample_rate, steps=steps, learning_rate=rate,
                  betas=(0.95, 0.999), weight_decay=1e-6, warmup=min(500, steps // 10),
                  ema=0.9999 if size in ("small", "paper") else 0.999)
    return Recipe(system=SystemConfig(codec=codec, conditioner=ENCODERS[size], generator=generator), stages=(stage,))
