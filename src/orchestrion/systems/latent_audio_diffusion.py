"""Latent audio-diffusion (teticio, 2022): diffusion of a mel image's latents, an eighth as high and as wide.

    noise ── U-Net, some steps ──► z [b d f/8 n/8] ── decoder ──► mel image ── phase recovery ──► audio

The autoencoder learns the image's absolute error and a trace of KL; the critic and the perceptual loss of the published
one, which come in after 50,000 steps, are left out.
"""

from orchestrion.codecs.mel_vae import MelVaeConfig
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.unet2d import UNet2dConfig
from orchestrion.nn.vae2d import Vae2dConfig
from orchestrion.objectives.diffusion import DenoiseConfig
from orchestrion.objectives.named import NamedLossesConfig
from orchestrion.sampling.parameterisations import PredictsNoise
from orchestrion.sampling.paths import Linear
from orchestrion.sampling.weighting import MinSNR
from orchestrion.systems import audio_diffusion
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

VAES = {
    "nano": Vae2dConfig(channels=(16, 32), layers=1, latents=2, groups=8, scaling=1.0),
    "tiny": Vae2dConfig(channels=(32, 64, 96), latents=4, groups=16, scaling=1.0),
    "small": Vae2dConfig(channels=(64, 128, 256), latents=4, scaling=1.0),
    "paper": Vae2dConfig(),
}
GENERATORS = {
    "nano": DiffusionConfig(net=UNet2dConfig(channels=(32, 64), attention=(False, True), layers=1, groups=8),
                            context=16, overlap=4),
    "tiny": DiffusionConfig(net=UNet2dConfig(channels=(64, 96, 128), attention=(False, True, True), groups=16,
                                             head_width=32), context=64, overlap=16),
    "small": DiffusionConfig(net=UNet2dConfig(channels=(128, 192, 256, 320), attention=(False, True, True, True),
                                              head_width=64), context=64, overlap=16),
    "paper": DiffusionConfig(net=UNet2dConfig(channels=(128, 256, 512, 512), attention=(False, False, True, False)),
                             path=Linear(), parameterisation=PredictsNoise(), context=32, overlap=8),
}


@system("latent-audio-diffusion", sizes=("nano", "tiny", "small", "paper"))
def latent_audio_diffusion(size: str) -> Recipe:
    image = audio_diffusion.CODECS[size]
    codec, generator = MelVaeConfig(image=image, vae=VAES[size]), GENERATORS[size]
    crop = generator.context * 2 ** (len(codec.vae.channels) - 1) * image.hop / image.sample_rate
    steps, batch = {"nano": (300, 4), "tiny": (3_000, 8), "small": (100_000, 16), "paper": (400_000, 16)}[size]
    # the divergence is a sum over the clip's latents: 1e-6 of it holds their scale without costing detail
    vae = Stage(name="vae", trains="codec.vae", objective=NamedLossesConfig(weights={"image": 1.0, "divergence": 1e-6}),
                crop=crop, batch=batch, steps=steps, learning_rate=2e-3 if size == "nano" else 2e-4,
                warmup=min(500, steps // 10), fit=size != "paper")
    objective = DenoiseConfig() if size == "paper" else DenoiseConfig(weighting=MinSNR())
    diffusion = Stage(name="diffusion", trains="generator", on="latents", objective=objective, crop=crop, batch=batch,
                      steps=steps, learning_rate=2e-3 if size == "nano" else 2e-4, betas=(0.95, 0.999),
                      weight_decay=1e-6, warmup=min(500, steps // 10))
    return Recipe(system=SystemConfig(codec=codec, generator=generator), stages=(vae, diffusion))
