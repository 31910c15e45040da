"""APT (Lin et al., 2025): a flow becomes a GAN of two steps, by Musika's critic.

    noise, beats ── DiT, twice ──► z ── spectral codec ──► audio

It begins with a trained flow, whose generator it has: after the flow's own stage, or by

    orchestrion train apt --size release --from piano-flow --stage apt --data CORPUS
"""

from dataclasses import replace

from orchestrion.objectives.adversarial_flow import AdversarialFlowConfig
from orchestrion.systems.flow import GENERATORS, flow
from orchestrion.systems.system import Recipe, system


@system("apt", sizes=("nano", "tiny", "small", "release"))
def apt(size: str) -> Recipe:
    recipe = flow(size)
    steps, batch, rate, width = {"nano": (200, 8, 3e-4, 32), "tiny": (1_500, 8, 3e-5, 48),
                                 "small": (5_000, 32, 2e-5, 96), "release": (880, 8, 1.5e-5, 72)}[size]
    objective = AdversarialFlowConfig(critic=tuple(width * m for m in (2, 3, 4, 5, 6, 6)))
    # low rates: at 1e-4, the critic's 3e-4, that learnt each batch by heart, and the notes that were there went again
    stage = replace(recipe.stages[-1], name="apt", objective=objective, steps=steps, batch=batch, learning_rate=rate,
                    critic_rate=2.7 * rate, betas=(0.5, 0.98), warmup=min(20, steps // 10), ema=0.99)
    generator = replace(GENERATORS[size], guidance=1.0, guide=None)  # the critic hears the beat
    return Recipe(system=replace(recipe.system, generator=generator), stages=(*recipe.stages, stage))
