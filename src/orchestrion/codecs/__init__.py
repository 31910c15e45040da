"""Audio to latents or tokens, and back. A new codec is one file here and one line below."""

from orchestrion.codecs import musika, per_channel, rave, spectral

__all__ = ["musika", "per_channel", "rave", "spectral"]
