"""Conditioning to latents or tokens. A new generator is one file here and one line below."""

from orchestrion.generators import flow, latent_gan

__all__ = ["flow", "latent_gan"]
