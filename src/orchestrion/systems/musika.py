"""Musika (Pasini & Schlüter, 2022): stereo music of any length by a GAN over the latents of a two-level codec.

    audio ── STFT ── level 1 ──► z1 ── level 2 ──► z [128 n], 10.8 a second ── level 2 ── level 1 ── iSTFT ──► audio
    coordinates, style ── generator ──► z          critic: real or made?

`paper` is the authors' 44.1 kHz version, layer by layer. Their weights load into it (`orchestrion import`); the codec's
training was never released, so the first two stages are ours. Fine-tuning, for a narrow timbre such as piano, after the
authors' README: `--from MODEL --set stages.gan.learning_rate=4e-5`, or 2e-5 where that is unstable. A larger GAN:
`--set system.generator.base_channels=192 --set stages.gan.learning_rate=7e-5`. To steer tempo or density:
`--set 'system.conditioner={"type": "AttributesConfig", "names": ["tempo"]}'`.
"""

from dataclasses import replace

from orchestrion.codecs.musika import BLOCK, VECTOR, MusikaCodecConfig
from orchestrion.codecs.per_channel import PerChannelConfig
from orchestrion.generators.latent_gan import LatentGanConfig
from orchestrion.objectives.latent_gan import LatentGanObjectiveConfig
from orchestrion.objectives.musika_codec import MusikaCodecObjectiveConfig
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

CODECS = {
    "nano": MusikaCodecConfig(width=24, frame_latents=24, latents=24),
    "tiny": MusikaCodecConfig(width=96),
    "small": MusikaCodecConfig(width=192),
    "paper": MusikaCodecConfig(),
}
GANS = {
    "nano": LatentGanConfig(base_channels=16, latlen=16, coordinates=8, style=8, multipliers=(6, 4)),
    "tiny": LatentGanConfig(base_channels=48, latlen=128),
    "small": LatentGanConfig(latlen=128),  # the authors' --small
    "paper": LatentGanConfig(),
}
CRITIC_WIDTH = {"nano": 8, "tiny": 24, "small": 32, "paper": 48}
CODEC_STEPS = {"nano": 300, "tiny": 3_000, "small": 100_000, "paper": 500_000}
CODEC_BATCH = {"nano": 1, "tiny": 6, "small": 16, "paper": 32}
GAN_STEPS = {"nano": 400, "tiny": 14_000, "small": 300_000, "paper": 2_000_000}
GAN_BATCH = {"nano": 8, "tiny": 16, "small": 32, "paper": 32}


@system("musika", sizes=("nano", "tiny", "small", "paper"))
def musika(size: str) -> Recipe:
    parts = SystemConfig(codec=PerChannelConfig(mono=CODECS[size]), generator=GANS[size])
    return Recipe(system=parts, stages=(codec_stage(size, level=1), codec_stage(size, level=2),
                                        gan_stage(size, GANS[size].latlen * VECTOR * 256 / 44_100)))


def codec_stage(size: str, level: int) -> Stage:
    """A level of the codec, on crops of two blocks (one for nano), so that the losses hear the joint."""
    objective = MusikaCodecObjectiveConfig(level=level, critic_width=CRITIC_WIDTH[size])
    return Stage(name=f"level{level}", trains=f"codec.mono.level{level}", objective=objective,
                 crop=(1 if size == "nano" else 2) * BLOCK * VECTOR * 256 / 44_100, batch=CODEC_BATCH[size],
                 steps=CODEC_STEPS[size], learning_rate=1e-4 if size == "paper" else 1e-3, betas=(0.5, 0.9),
                 fit=level == 2)


def gan_stage(size: str, crop: float, swap_channels: bool = True) -> Stage:
    """The latent GAN with the authors' rates (parse_train.py); pages that put it over other codecs use it too.

    crop: seconds that hold `latlen` latent frames. `tiny`, for an hour, has a critic that compares: by the authors' it
    learns less in the same time (docs/musika.md).
    """
    stage = Stage(name="gan", trains="generator", on="latents",
                  objective=LatentGanObjectiveConfig(swap_channels=swap_channels), crop=crop, batch=GAN_BATCH[size],
                  steps=GAN_STEPS[size], learning_rate=1e-3 if size == "nano" else 1e-4, betas=(0.5, 0.999), warmup=0,
                  schedule="constant", clip=None, ema=0.999)
    if size == "tiny":
        objective = LatentGanObjectiveConfig(swap_channels=swap_channels, relative=True)
        stage = replace(stage, objective=objective, learning_rate=5e-4, betas=(0.0, 0.99), schedule="cosine")
    return stage
