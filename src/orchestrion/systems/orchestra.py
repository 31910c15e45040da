"""Orchestra: text to music on a laptop, by rectified flow with a small transformer over the spectral codec's latents.

    words ── text encoder ──► what to play
                                  │ cross-attention, guidance
    noise ── DiT, a few steps ◄───┘ ──► z [d n], 21.5 a second ── spectral codec ──► audio

The text encoder is our own and learns along with the generator; any length is made in windows. Over a codec that is
already trained:

    orchestrion train orchestra --size release --data CORPUS --from piano-flow

CORPUS is best one MIDI collection on many General MIDI programs (`orchestrion prepare … --program 0,4,10,24,46,48`),
or a folder of sounds with captions. `release` makes the bundled text model: its transformer is `piano-flow`'s, so it
can begin with those weights and only has to learn words and timbres; `--from spectral-v5` begins with the codec alone.
Other text encoders by `--set`: frozen T5,
`--set 'system.conditioner={"type": "T5TextConfig", "weights": "google/flan-t5-base"}' --set 'stages.0.along=[]'`.
"""

from orchestrion.conditioners.music_text import MusicTextConfig
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.generators.flow import DiTConfig, FlowConfig
from orchestrion.objectives.flow_matching import FlowMatchingConfig
from orchestrion.systems.spectral import CODECS, codec_stage
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

WORDS = {
    "nano": TextEncoderConfig(width=64, depth=1, heads=2, vocabulary=256),
    "tiny": TextEncoderConfig(width=128),
    "small": TextEncoderConfig(width=384, depth=4, heads=6, vocabulary=8192),
    "release": TextEncoderConfig(),
}
GENERATORS = {
    "nano": FlowConfig(net=DiTConfig(width=96, depth=3, heads=3), context=64, overlap=16),
    "tiny": FlowConfig(),
    "small": FlowConfig(net=DiTConfig(width=512, depth=12, heads=8), context=512, overlap=128),
    "release": FlowConfig(),
}
RATES = {"nano": 1e-3, "tiny": 1e-3, "small": 6e-4, "release": 8e-4}


@system("orchestra", sizes=("nano", "tiny", "small", "release"))
def orchestra(size: str) -> Recipe:
    steps, batch = {"nano": (400, 8), "tiny": (4_000, 24), "small": (300_000, 32), "release": (2_200, 24)}[size]
    generator = GENERATORS[size]
    crop = 8.0 if size == "release" else generator.context * 2048 / 44_100  # more clips, so more captions, a step
    # few beginnings are given: what begins a piece must come from the words. And the words decide near the noise: with
    # times that are rarely there, 650 steps hardly taught which instrument is meant (docs/text.md)
    objective = FlowMatchingConfig(beginnings=0.2, spans=0.05, spread=1.3, shift=2.5)
    stage = Stage(name="flow", trains="generator", along=("conditioner",), on="latents", objective=objective, crop=crop,
                  batch=batch, steps=steps, learning_rate=RATES[size], betas=(0.9, 0.98),
                  weight_decay=0.01, warmup=min(300, steps // 10))
    parts = SystemConfig(codec=CODECS[size], conditioner=MusicTextConfig(text=WORDS[size]), generator=generator)
    return Recipe(system=parts, stages=(codec_stage(size), stage))
