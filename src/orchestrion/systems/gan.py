"""GAN: Musika's latent GAN over the spectral codec's latents.

    coordinates, style ── generator ──► z ── spectral codec ──► audio
"""

from orchestrion.systems import musika
from orchestrion.systems.spectral import CODECS, codec_stage
from orchestrion.systems.system import Recipe, SystemConfig, system


@system("gan", sizes=("nano", "tiny", "small"))
def gan(size: str) -> Recipe:
    generator = musika.GANS[size]
    stage = musika.gan_stage(size, generator.latlen * 2048 / 44_100, swap_channels=False)
    return Recipe(system=SystemConfig(codec=CODECS[size], generator=generator), stages=(codec_stage(size), stage))
