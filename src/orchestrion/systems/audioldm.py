"""AudioLDM (Liu et al., 2023): text to audio by latent diffusion that learns from sound alone.

    audio ── mel image ── VAE ──► z ◄── U-Net diffusion ◄── vector of a CLAP: of the sound while training,
                                  └── VAE ── HiFi-GAN ──► audio            of the words while playing

Four stages: CLAP, autoencoder, vocoder (each may come trained: `--from`), diffusion. `paper` is AudioLDM-S as published
for 16 kHz, over LAION's CLAP; it predicts the noise on the authors' schedule. The others predict v on a path that ends
in pure noise (docs/diffusion.md says why), over mel images of audio-diffusion and a CLAP of our own.

The autoencoder is trained as that of latent-audio-diffusion; the authors add a perceptual loss, and a critic after
50,000 steps.
"""

import dataclasses

from orchestrion.codecs.hifigan import HifiGanConfig
from orchestrion.codecs.log_mel import LogMelConfig
from orchestrion.codecs.mel_vae import MelVaeConfig
from orchestrion.conditioners.text_clap import PretrainedClapConfig
from orchestrion.contracts import ConditionerConfig
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.hifigan import HifiGanNetConfig
from orchestrion.nn.unet2d import UNet2dConfig
from orchestrion.nn.vae2d import Vae2dConfig
from orchestrion.objectives.heard_diffusion import HeardDenoiseConfig
from orchestrion.objectives.named import NamedLossesConfig
from orchestrion.sampling.parameterisations import PredictsNoise
from orchestrion.sampling.paths import ScaledLinear
from orchestrion.sampling.weighting import MinSNR
from orchestrion.systems import clap, hifigan, latent_audio_diffusion
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

PUBLISHED_VOCODER = HifiGanConfig(
    image=LogMelConfig(peak=0.5), net=HifiGanNetConfig(channels=1024, rates=(5, 4, 2, 2, 2), kernels=(16, 16, 8, 4, 4)))
CODECS = {size: MelVaeConfig(image=hifigan.CODECS[size], vae=latent_audio_diffusion.VAES[size])
          for size in ("nano", "tiny", "small")}
CODECS["paper"] = MelVaeConfig(image=PUBLISHED_VOCODER,
                               vae=Vae2dConfig(channels=(128, 256, 512), latents=8, scaling=1.0))
CONDITIONERS: dict[str, ConditionerConfig] = {**clap.CONDITIONERS, "paper": PretrainedClapConfig()}
GENERATORS = {
    "nano": DiffusionConfig(net=UNet2dConfig(channels=(32, 64), attention=(False, True), layers=1, groups=8,
                                             head_width=2, vector=True, twice=True), context=16, overlap=4),
    "tiny": DiffusionConfig(net=UNet2dConfig(channels=(64, 96, 128), attention=(False, True, True), groups=16,
                                             head_width=4, vector=True, twice=True), context=64, overlap=16),
    "small": DiffusionConfig(net=UNet2dConfig(channels=(128, 192, 256, 384), attention=(False, True, True, True),
                                              vector=True, twice=True), context=64, overlap=16),
    "paper": DiffusionConfig(net=UNet2dConfig(channels=(128, 256, 384, 640), attention=(False, True, True, True),
                                              vector=True, twice=True),
                             path=ScaledLinear(first=0.0015, last=0.0195), parameterisation=PredictsNoise(),
                             context=256, overlap=64),
}


@system("audioldm", sizes=("nano", "tiny", "small", "paper"))
def audioldm(size: str) -> Recipe:
    codec, conditioner, generator = CODECS[size], CONDITIONERS[size], GENERATORS[size]
    steps, batch, rate = {"nano": (300, 4, 2e-3), "tiny": (4_000, 8, 5e-4), "small": (200_000, 16, 1e-4),
                          "paper": (800_000, 16, 1e-4)}[size]
    made = codec.build()
    crop = generator.context * made.frame / made.sample_rate
    vae = Stage(name="vae", trains="codec.vae", objective=NamedLossesConfig(weights={"image": 1.0, "divergence": 1e-6}),
                crop=crop, batch=batch, steps=steps, learning_rate=rate, warmup=min(500, steps // 10), fit=True)
    objective = HeardDenoiseConfig() if size == "paper" else HeardDenoiseConfig(weighting=MinSNR())
    diffusion = Stage(name="diffusion", trains="generator", objective=objective, crop=crop, batch=batch, steps=steps,
                      learning_rate=rate, betas=(0.95, 0.999), weight_decay=1e-6,
                      warmup=2_000 if size == "paper" else min(500, steps // 10),
                      ema=0.9999 if size in ("small", "paper") else 0.999)
    hearing = () if size == "paper" else clap.clap(size).stages  # the paper's comes trained
    vocoder = hifigan.vocoder_stage(size, "codec.image.net")
    if size == "paper":
        vocoder = dataclasses.replace(vocoder, crop=8192 / made.sample_rate)
    return Recipe(system=SystemConfig(codec=codec, conditioner=conditioner, generator=generator),
                  stages=(*hearing, vae, vocoder, diffusion))
