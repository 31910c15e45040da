"""Spectral: a codec of 21.5 vectors a second that the light generators share.

    audio ── STFT ── ConvNeXt ──► z ── ConvNeXt ── magnitude, phase ── inverse STFT ──► audio

`release` has the settings of the bundled `spectral-v5`, but for its last stages, which `recipes/release.sh` adds: a
decoder of longer spectra, with steps of Griffin-Lim behind it, and a side for the middle. Its way there was longer (its
card).
"""

from orchestrion.codecs.spectral import SpectralCodecConfig
from orchestrion.objectives.reconstruction import ReconstructionConfig
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

CODECS = {
    "nano": SpectralCodecConfig(latents=32, width=64, depth=2, deep_width=96, deep_depth=1),
    "tiny": SpectralCodecConfig(latents=64, width=192, depth=4, deep_width=256, deep_depth=3),
    "small": SpectralCodecConfig(latents=96, width=512, depth=8, deep_width=768, deep_depth=6),
    "release": SpectralCodecConfig(channels=1, latents=64, width=256, deep_width=384, deep_depth=3, expansion=2,
                                   noise=0.05),
}


@system("spectral", sizes=("nano", "tiny", "small", "release"))
def spectral(size: str) -> Recipe:
    return Recipe(system=SystemConfig(codec=CODECS[size]), stages=(codec_stage(size),))


def codec_stage(size: str) -> Stage:
    """The stage that trains a spectral codec; the pages of generators over it begin with it too."""
    steps, batch, crop = {"nano": (300, 4, 0.75), "tiny": (4_000, 12, 1.5), "small": (200_000, 16, 1.5),
                          "release": (4_700, 10, 1.5)}[size]
    objective = ReconstructionConfig(partials=3.0) if size == "release" else ReconstructionConfig()
    return Stage(name="codec", trains="codec", objective=objective, crop=crop, gain=(-9.0, 3.0),
                 batch=batch, steps=steps, learning_rate=1e-3, warmup=min(200, steps // 10), fit=True)
