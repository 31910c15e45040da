"""CLAP: sound and words in one space, trained from scratch on a corpus and its captions.

    audio ── log-mel transformer ──┐
                                   ├──► nearness: search, labels, scores; what AudioLDM is steered by
    words ── text encoder ─────────┘

It makes no sound: its codec is the waveform itself, and says at what rate it hears.
"""

from orchestrion.codecs.waveform import WaveformConfig
from orchestrion.conditioners.clap import ClapConfig, HearingConfig
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.objectives.contrastive import ContrastiveConfig
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

CONDITIONERS = {
    "nano": ClapConfig(width=32, text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=128),
                       hearing=HearingConfig(width=48, depth=1, heads=2, bands=32, patch=(16, 8), window=0.75)),
    "tiny": ClapConfig(text=TextEncoderConfig(width=128)),
    "release": ClapConfig(text=TextEncoderConfig(width=128),
                          hearing=HearingConfig(window=4.0, left_out=0.4)),
    "small": ClapConfig(width=512, text=TextEncoderConfig(width=384, depth=6, heads=6, vocabulary=16_384),
                        hearing=HearingConfig(width=512, depth=12, heads=8, window=10.0)),
}


@system("clap", sizes=("nano", "tiny", "release", "small"))
def clap(size: str) -> Recipe:
    steps, batch, crop, rate = {"nano": (300, 8, 1.5, 3e-3), "tiny": (3_000, 48, 10.0, 1e-3),
                                "release": (600, 64, 6.0, 1e-3), "small": (100_000, 256, 20.0, 1e-4)}[size]
    conditioner = CONDITIONERS[size]
    stage = Stage(name="clap", trains="conditioner", objective=ContrastiveConfig(), crop=crop, batch=batch, steps=steps,
                  learning_rate=rate, betas=(0.9, 0.98), weight_decay=0.05, warmup=min(500, steps // 10))
    return Recipe(system=SystemConfig(codec=WaveformConfig(sample_rate=conditioner.sample_rate),
                                      conditioner=conditioner), stages=(stage,))
