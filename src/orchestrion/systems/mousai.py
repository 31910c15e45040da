"""Moûsai (Schneider et al., 2023): text to stereo music by diffusion twice, over latents and back to a waveform.

    words ── text encoder ──► what to play
                                 │ cross-attention, guidance
    noise ── U-Net, v-diffusion ◄┘ ──► z, 32 numbers every 1024 samples ── DMAE, v-diffusion ──► audio

Two stages: the autoencoder (a system of its own, `dmae`), then the generator over its latents, with our own text
encoder learning along where the authors have a frozen T5-base (64 tokens of 768 numbers, and a learned embedding for
no prompt: `--set system.generator.net.nulls=64` with any frozen encoder). Of the paper's latent U-Net the channels are
known; its factors, items and attentions are ours. Long pieces are made in overlapping windows; to continue, fill and
vary is the diffusion generator's.
"""

from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.unet1d import UNet1dConfig
from orchestrion.nn.unet1d_denoiser import UNet1dDenoiserConfig
from orchestrion.systems import dmae
from orchestrion.systems.system import Recipe, SystemConfig, system
from orchestrion.systems.waveform import diffusion_stage

WORDS = {
    "nano": TextEncoderConfig(width=64, depth=1, heads=2, vocabulary=256),
    "tiny": TextEncoderConfig(width=128),
    "small": TextEncoderConfig(width=384, depth=4, heads=6, vocabulary=8192),
    "paper": TextEncoderConfig(width=768, depth=6, heads=12, vocabulary=32_768, length=64),
}
NETS = {
    "nano": UNet1dConfig(channels=(48, 64, 96, 96), factors=(1, 2, 4, 4), items=(1, 1, 1, 1), attentions=(0, 0, 1, 1),
                         cross_attentions=(1, 1, 1, 1), heads=2, head_width=32, features=64),
    "tiny": UNet1dConfig(channels=(128, 192, 256), factors=(1, 2, 2), items=(1, 2, 2), attentions=(0, 1, 1),
                         cross_attentions=(1, 1, 1), heads=4, features=256),
    "small": UNet1dConfig(channels=(128, 256, 384, 512), factors=(1, 2, 2, 2), items=(1, 2, 2, 2),
                          attentions=(0, 1, 1, 1), cross_attentions=(1, 1, 1, 1), features=512),
    "paper": UNet1dConfig(channels=(128, 256, 512, 512, 1024, 1024), factors=(1, 2, 2, 2, 2, 2),
                          items=(2, 2, 2, 4, 4, 4), attentions=(0, 0, 1, 1, 1, 1), cross_attentions=(1, 1, 1, 1, 1, 1)),
}
CONTEXT = {"nano": 64, "tiny": 512, "small": 1024, "paper": 2048}  # frames; the paper's are 43.7 s
STEPS = {"nano": 300, "tiny": 10_000, "small": 300_000, "paper": 1_000_000}
BATCH = {"nano": 8, "tiny": 16, "small": 32, "paper": 32}


@system("mousai", sizes=tuple(NETS))
def mousai(size: str) -> Recipe:
    codec, words, context = dmae.CODECS[size], WORDS[size], CONTEXT[size]
    generator = DiffusionConfig(net=UNet1dDenoiserConfig(levels=NETS[size]), context=context, overlap=context // 4)
    stage = diffusion_stage(size, context * dmae.frame(codec) / codec.sample_rate, STEPS[size], BATCH[size],
                            on="latents", along=("conditioner",))
    return Recipe(system=SystemConfig(codec=codec, conditioner=words, generator=generator),
                  stages=(*dmae.dmae(size).stages, stage))
