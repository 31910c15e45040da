"""What a stage minimises. A new objective is one file here and one line below."""

from orchestrion.objectives import (
    adversarial_flow,
    contrastive,
    diffused_codec,
    diffusion,
    distillation,
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
    "adversarial_flow",
    "contrastive",
    "diffused_codec",
    "diffusion",
    "distillation",
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
