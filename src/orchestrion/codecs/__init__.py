"""Audio to latents or tokens, and back. A new codec is one file here and one line below."""

from orchestrion.codecs import (
    diffused,
    dmae,
    hifigan,
    log_mel,
    mel,
    mel_vae,
    musika,
    per_channel,
    rave,
    spectral,
    upsampler,
    vocoder,
    waveform,
)

__all__ = [
    "diffused",
    "dmae",
    "hifigan",
    "log_mel",
    "mel",
    "mel_vae",
    "musika",
    "per_channel",
    "rave",
    "spectral",
    "upsampler",
    "vocoder",
    "waveform",
]
