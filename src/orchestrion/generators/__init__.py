"""Conditioning to latents or tokens. A new generator is one file here and one line below."""

from orchestrion.generators import diffusion, flow, latent_gan, noise_ladder, prior

__all__ = ["diffusion", "flow", "latent_gan", "noise_ladder", "prior"]
