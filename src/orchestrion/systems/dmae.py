"""DMAE: Moûsai's diffusion magnitude autoencoder (Schneider et al., 2023), stereo at 48 kHz in 32 numbers a frame.

    audio ── |STFT| ── convolutions ──► z          z ── injected into a U-Net, v-diffusion ──► audio

`paper` makes a latent every 1024 samples (64 times fewer numbers than samples, ArchiSound's DMAE1d-ATC64-v2 figure by
figure), `paper32` every 512 (32 times; of DMAE1d-ATC32-v3 only the rate and its 86M parameters are known: the layers
are the other's, two levels and four blocks less, 89M).
"""

import math

from orchestrion.codecs.dmae import DmaeConfig, MagnitudeEncoderConfig
from orchestrion.nn.unet1d import UNet1dConfig
from orchestrion.objectives.diffused_codec import DiffusedCodecObjectiveConfig
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

PAPER = UNet1dConfig(channels=(256, 512, 512, 512, 1024, 1024, 1024), factors=(1, 2, 2, 2, 2, 2, 2),
                     items=(1, 2, 2, 2, 2, 2, 2))
CODECS = {
    "nano": DmaeConfig(
        sample_rate=44_100, channels=1, filters=16, window=16, stride=16, depth=1, overlap=8,
        encoder=MagnitudeEncoderConfig(bins=64, hop=32, width=32, factors=(2,), blocks=(1,), latents=16),
        levels=UNet1dConfig(channels=(32, 64, 64), factors=(1, 4, 2), items=(1, 1, 1), features=64)),
    "tiny": DmaeConfig(
        sample_rate=44_100, channels=1, filters=96, window=32, stride=32, depth=3,
        encoder=MagnitudeEncoderConfig(width=192, factors=(2,), blocks=(4,)),
        levels=UNet1dConfig(channels=(96, 192, 192, 256, 256), factors=(1, 2, 2, 4, 4), items=(1, 1, 1, 2, 2),
                            features=256)),
    "small": DmaeConfig(
        sample_rate=44_100, filters=64, depth=3,
        encoder=MagnitudeEncoderConfig(width=384, factors=(2,), blocks=(6,)),
        levels=UNet1dConfig(channels=(128, 256, 384, 512, 512, 512), factors=(1, 2, 2, 2, 2, 2),
                            items=(1, 2, 2, 2, 2, 2), features=512)),
    "paper": DmaeConfig(levels=PAPER),
    "paper32": DmaeConfig(
        encoder=MagnitudeEncoderConfig(factors=(2,), blocks=(4,)), depth=3,
        levels=UNet1dConfig(channels=PAPER.channels[:-2], factors=PAPER.factors[:-2], items=PAPER.items[:-2])),
}
CROP = {"nano": 2**12, "tiny": 2**15, "small": 2**17, "paper": 2**18, "paper32": 2**18}  # samples
STEPS = {"nano": 300, "tiny": 10_000, "small": 300_000, "paper": 1_000_000, "paper32": 1_000_000}
BATCH = {"nano": 4, "tiny": 8, "small": 16, "paper": 32, "paper32": 32}


@system("dmae", sizes=tuple(CODECS))
def dmae(size: str) -> Recipe:
    codec = CODECS[size]
    return Recipe(system=SystemConfig(codec=codec), stages=(
        codec_stage(size, CROP[size] / codec.sample_rate, STEPS[size], BATCH[size]),))


def frame(codec: DmaeConfig) -> int:
    """Samples of a latent."""
    return codec.encoder.hop * math.prod(codec.encoder.factors)


def codec_stage(size: str, crop: float, steps: int, batch: int) -> Stage:
    """A codec that decodes by diffusion, with the authors' optimiser. Smaller sizes learn faster."""
    rate = {"nano": 3e-3, "tiny": 5e-4, "small": 2e-4}.get(size, 1e-4)
    return Stage(name="codec", trains="codec", objective=DiffusedCodecObjectiveConfig(), crop=crop, batch=batch,
                 steps=steps, learning_rate=rate, betas=(0.95, 0.999), weight_decay=1e-3,
                 warmup=min(500, steps // 10), schedule="constant" if size.startswith("paper") else "cosine",
                 ema=0.995 if size == "nano" else 0.9995, fit=True)
