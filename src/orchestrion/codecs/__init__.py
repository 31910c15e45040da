"""Audio to latents or tokens, and back. A new codec is one file here and one line below."""

from orchestrion.codecs import musika, spectral

__all__ = ["musika", "spectral"]
