"""Upsampler: sixteen times the sample rate, by diffusion (audio-diffusion-pytorch's DiffusionUpsampler).

    audio ── ÷16 ──► z, a waveform          z ── beside the noise ── U-Net, v-diffusion ──► audio

A codec whose latents are the low-rate waveform: `encode` keeps that, `decode` makes up what lay above. `paper` is the
authors' README, 3 to 48 kHz.
"""

from orchestrion.codecs.upsampler import UpsamplerConfig
from orchestrion.nn.unet1d import UNet1dConfig
from orchestrion.systems.dmae import codec_stage
from orchestrion.systems.system import Recipe, SystemConfig, system
from orchestrion.systems.waveform import CONTEXT, NETS

CODECS = {
    "nano": UpsamplerConfig(levels=UNet1dConfig(channels=(16, 32, 48, 64), factors=(4, 4, 4, 4), items=(1, 1, 1, 1),
                                                features=64), overlap=64),
    "tiny": UpsamplerConfig(factor=8, levels=NETS["tiny"]),
    "small": UpsamplerConfig(channels=2, levels=NETS["small"]),
    "paper": UpsamplerConfig(sample_rate=48_000, channels=2, levels=UNet1dConfig(
        channels=NETS["paper"].channels, factors=NETS["paper"].factors, items=NETS["paper"].items)),
}
STEPS = {"nano": 300, "tiny": 10_000, "small": 300_000, "paper": 1_000_000}
BATCH = {"nano": 4, "tiny": 8, "small": 16, "paper": 32}


@system("upsampler", sizes=tuple(CODECS))
def upsampler(size: str) -> Recipe:
    codec = CODECS[size]
    return Recipe(system=SystemConfig(codec=codec), stages=(
        codec_stage(size, CONTEXT[size] / codec.sample_rate, STEPS[size], BATCH[size]),))
