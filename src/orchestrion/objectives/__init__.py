"""What a stage minimises. A new objective is one file here and one line below."""

from orchestrion.objectives import (
    contrastive,
    diffused_codec,
    diffusion,
    distillation,
    distribution_matching,
    flow_matching,
    heard_diffusion,
    hifigan,
    latent_gan,
    musika_codec,
    named,
    noise_ladder,
    prior,
    rave,
    reconstruction,
)

__all__ = [
    "contrastive",
    "diffused_codec",
    "diffusion",
    "distillation",
    "distribution_matching",
    "flow_matching",
    "heard_diffusion",
    "hifigan",
    "latent_gan",
    "musika_codec",
    "named",
    "noise_ladder",
    "prior",
    "rave",
    "reconstruction",
]
