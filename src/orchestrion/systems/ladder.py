"""Ladder: waveforms without end, by diffusion at rising noise levels (audio-diffusion-pytorch's DiffusionAR).

    noise ── U-Net told each sample's noise; split by split down the ladder ──► audio, and on

The authors' README gives no size of its own: `paper` is their U-Net with a window of 2^18 samples in 16 splits.
"""

from dataclasses import replace

from orchestrion.generators.noise_ladder import NoiseLadderConfig
from orchestrion.objectives.noise_ladder import LadderDenoiseConfig
from orchestrion.systems.system import Recipe, SystemConfig, system
from orchestrion.systems.waveform import BATCH, CODECS, CONTEXT, NETS, STEPS, diffusion_stage

SPLITS = {"nano": 4, "tiny": 16, "small": 16, "paper": 16}


@system("ladder", sizes=tuple(SPLITS))
def ladder(size: str) -> Recipe:
    generator = NoiseLadderConfig(levels=replace(NETS[size], features=0), length=CONTEXT[size], splits=SPLITS[size])
    stage = diffusion_stage(size, CONTEXT[size] / CODECS[size].sample_rate, STEPS[size], BATCH[size])
    return Recipe(system=SystemConfig(codec=CODECS[size], generator=generator),
                  stages=(replace(stage, objective=LadderDenoiseConfig()),))
