"""DMD2 (Yin et al., 2024): a flow's student of two steps, by distribution matching and Musika's critic.

    noise, beats ── DiT, twice ──► z ── spectral codec ──► audio

It begins with a trained flow, its teacher, whose generator it has: after the flow's own stage, or by

    orchestrion train dmd --size release --from piano-flow --stage dmd --data CORPUS
"""

from dataclasses import replace

from orchestrion.objectives.distribution_matching import DistributionMatchingConfig
from orchestrion.systems.flow import GENERATORS, flow
from orchestrion.systems.system import Recipe, system


@system("dmd", sizes=("nano", "tiny", "small", "release"))
def dmd(size: str) -> Recipe:
    recipe = flow(size)
    steps, batch, rate, width = {"nano": (200, 8, 3e-4, 32), "tiny": (3_000, 12, 1e-4, 48),
                                 "small": (20_000, 32, 5e-5, 96), "release": (2_800, 8, 1e-4, 48)}[size]
    objective = DistributionMatchingConfig(steps=2, critic=tuple(width * m for m in (2, 3, 4, 5, 6, 6)))
    stage = replace(recipe.stages[-1], name="dmd", objective=objective, steps=steps, batch=batch, learning_rate=rate,
                    critic_rate=3 * rate, betas=(0.5, 0.98), warmup=min(50, steps // 10))
    generator = replace(GENERATORS[size], guidance=1.0, guide=None)  # its guidance is its teacher's
    return Recipe(system=replace(recipe.system, generator=generator), stages=(*recipe.stages, stage))
