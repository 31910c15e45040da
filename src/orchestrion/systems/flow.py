"""Flow: rectified flow with a small transformer over the spectral codec's latents.

    noise, beats ── DiT, a few steps ──► z ── spectral codec ──► audio

`release` over `spectral-v5` has the settings that the bundled `piano-flow` ended with (its card tells its way). A guide
for a flow that is trained: `--from MODEL --set stages.flow.trains=generator.guide`.
"""

from orchestrion.conditioners.metronome import MetronomeConfig
from orchestrion.generators.flow import DiTConfig, FlowConfig
from orchestrion.objectives.flow_matching import FlowMatchingConfig
from orchestrion.systems.spectral import CODECS, codec_stage
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

GENERATORS = {
    "nano": FlowConfig(net=DiTConfig(width=96, depth=3, heads=3), context=64, overlap=16),
    "tiny": FlowConfig(),
    "small": FlowConfig(net=DiTConfig(width=512, depth=12, heads=8), context=512, overlap=128),
    "release": FlowConfig(guide=DiTConfig(width=96, depth=3, heads=3), guide_scale=1.0),  # to be asked for
}


@system("flow", sizes=("nano", "tiny", "small", "release"))
def flow(size: str) -> Recipe:
    steps, batch = {"nano": (400, 8), "tiny": (3_000, 24), "small": (200_000, 32), "release": (8_000, 12)}[size]
    generator = GENERATORS[size]
    crop = generator.context * 2048 / 44_100
    objective = FlowMatchingConfig(shift=1.5 if size == "release" else 1.0)  # the beat, too, counts near the noise
    stage = Stage(name="flow", trains="generator", on="latents", objective=objective, crop=crop,
                  batch=batch, steps=steps, learning_rate=1e-3, betas=(0.9, 0.98), weight_decay=0.01,
                  warmup=min(200, steps // 10))
    parts = SystemConfig(codec=CODECS[size], conditioner=MetronomeConfig(), generator=generator)
    return Recipe(system=parts, stages=(codec_stage(size), stage))
