"""The table of contents: every system is one page here and one line below."""

from orchestrion.systems import (
    audio_diffusion,
    clap,
    dmae,
    flow,
    gan,
    ladder,
    latent_audio_diffusion,
    mousai,
    musika,
    orchestra,
    rave,
    spectral,
    upsampler,
    vocoder,
    waveform,
)

__all__ = [
    "audio_diffusion",
    "clap",
    "dmae",
    "flow",
    "gan",
    "ladder",
    "latent_audio_diffusion",
    "mousai",
    "musika",
    "orchestra",
    "rave",
    "spectral",
    "upsampler",
    "vocoder",
    "waveform",
]
