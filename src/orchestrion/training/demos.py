"""What a stage sounds like so far: clips and their spectrogram pictures, into the run folder."""

import math
from pathlib import Path

import torch

from orchestrion.audio import Audio
from orchestrion.audio.levels import below_ceiling
from orchestrion.audio.plots import plot_spectrograms
from orchestrion.contracts import Batch, Conditioning, Objective, Prompt
from orchestrion.systems.system import System

SECONDS = 6.0


@torch.no_grad()
def write_demo(system: System, real: Batch, folder: Path, step: int,
               objective: Objective | None = None) -> Path:
    """Where a codec is trained (objective: by which): real clips `[b c t]` above their reconstructions. A generator:
    clips from seeds 0 and 1, for the prompts of the real clips. -> the picture; the sounds lie beside it."""
    codec = system.codec
    device = codec.mean.device
    assert real.audio is not None
    clips = [Audio(clip, codec.sample_rate) for clip in real.audio[:2]]
    if objective is not None:
        audio = real.audio[:2].to(device)
        made = objective.reconstruct(audio)
        if made is None:
            made = codec.decode(codec.encode(audio), audio.shape[-1])
    else:
        assert system.generator is not None
        multiple = math.lcm(system.generator.multiple_of, max(1, codec.multiple_of // codec.frame))
        frames = -(-real.audio.shape[-1] // (codec.frame * multiple)) * multiple
        prompts = (real.prompts or [Prompt(), Prompt()])[:2]
        conditioning = system.conditioner.guided(prompts) if system.conditioner else Conditioning()
        made = codec.decode(system.generator.sample(frames, conditioning, [0, 1]), real.audio.shape[-1])
    made_clips = [Audio(below_ceiling(clip.float().cpu()), codec.sample_rate) for clip in made]
    folder.mkdir(parents=True, exist_ok=True)
    for i, clip in enumerate(made_clips):
        clip.write(folder / f"{step:07d}-{i}.flac")
    picture = folder / f"{step:07d}.png"
    titles = [f"{what} {i}" for i in range(2) for what in ("real", "made")]
    plot_spectrograms([c for pair in zip(clips, made_clips) for c in pair], picture, titles)
    return picture
