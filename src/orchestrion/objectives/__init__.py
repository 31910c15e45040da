"""What a stage minimises. A new objective is one file here and one line below."""

from orchestrion.objectives import diffusion, flow_matching, latent_gan, musika_codec, rave, reconstruction

__all__ = ["diffusion", "flow_matching", "latent_gan", "musika_codec", "rave", "reconstruction"]
