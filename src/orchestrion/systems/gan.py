"""GAN: Musika's latent GAN over the spectral codec's latents.

    coordinates, style ── generator ──► z ── spectral codec ──► audio
"""

from dataclasses import replace

from orchestrion.generators.latent_gan import LatentGanConfig
from orchestrion.objectives.latent_gan import LatentGanObjectiveConfig
from orchestrion.systems import musika
from orchestrion.systems.spectral import CODECS, codec_stage
from orchestrion.systems.system import Recipe, SystemConfig, system

GENERATORS = musika.GANS | {"release": LatentGanConfig(base_channels=48, latlen=128)}


@system("gan", sizes=("nano", "tiny", "small", "release"))
def gan(size: str) -> Recipe:
    generator = GENERATORS[size]
    stage = musika.gan_stage("tiny" if size == "release" else size, generator.latlen * 2048 / 44_100,
                             swap_channels=False)
    if size == "release":  # for an hour of one core: small batches learn most; the authors' penalty held the critic so
        # tight that the generator learnt little, and twice this rate ran away after 2,200 steps
        objective = LatentGanObjectiveConfig(penalty=2.0)
        stage = replace(stage, batch=16, steps=6_000, learning_rate=2e-4, clip=1.0, objective=objective)
    return Recipe(system=SystemConfig(codec=CODECS[size], generator=generator), stages=(codec_stage(size), stage))
