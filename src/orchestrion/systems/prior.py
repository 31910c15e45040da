"""Prior: RAVE's own generator, a causal WaveNet over its latents, frame after frame (Caillon & Esling 2021).

    frames so far ── WaveNet ──► next frame ──► … ──► z ── RAVE ──► audio

`--from` a trained RAVE skips the codec's stages; any other codec of latents [b d n] does as well, and the discrete
RAVE's tokens. `paper` is the published network (rave/configs/prior/prior_v1.gin) over RAVE v1.
"""

from orchestrion.generators.prior import PriorConfig
from orchestrion.objectives.prior import PriorObjectiveConfig
from orchestrion.systems.rave import rave
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

GENERATORS = {
    "nano": PriorConfig(width=64, skip=64, layers=6, cycle=3),
    "tiny": PriorConfig(levels=64, width=192, skip=192),
    "small": PriorConfig(levels=64, width=384, layers=16, cycle=8),
    "paper": PriorConfig(),
}
SCHEDULE = {  # steps, batch, frames a crop, learning rate
    "nano": (300, 4, 32, 2e-3), "tiny": (3_000, 16, 128, 1e-3), "small": (100_000, 32, 256, 5e-4),
    "paper": (1_000_000, 8, 128, 1e-4),
}


@system("prior", sizes=tuple(GENERATORS))
def prior(size: str) -> Recipe:
    codec = rave("v1" if size == "paper" else size)
    steps, batch, frames, rate = SCHEDULE[size]
    built = codec.system.codec.build()
    stage = Stage(name="prior", trains="generator", on="latents", objective=PriorObjectiveConfig(),
                  crop=frames * built.frame / built.sample_rate, batch=batch, steps=steps, learning_rate=rate,
                  warmup=min(200, steps // 10), schedule="constant" if size == "paper" else "cosine")
    return Recipe(system=SystemConfig(codec=codec.system.codec, generator=GENERATORS[size]),
                  stages=(*codec.stages, stage))
