import pytest
import torch
from overfitting import batch_of, distance, one_clip, train

from orchestrion.contracts import Conditioning, Edit
from orchestrion.generators.diffusion import DiffusionOptions
from orchestrion.systems.waveform import waveform

OPTIONS = DiffusionOptions(steps=20)


def made_by(system, length, edit=None):
    latents = system.generator.sample(length, Conditioning(), [5], OPTIONS, edit)
    return system.codec.decode(latents, length)


@pytest.mark.slow
def test_overfit_one_clip_and_fill_its_gap():
    recipe = waveform("nano")
    stage, system = recipe.stages[0], recipe.system.build()
    clip = one_clip(system.codec, stage)
    before = distance(made_by(system.eval(), clip.shape[-1]), clip)
    first, last = train(system, stage, batch_of(clip, 4), 300)
    after = distance(made_by(system, clip.shape[-1]), clip)
    print(f"loss {first:.3f} -> {last:.3f}, distance {before:.2f} -> {after:.3f}")
    assert before > 0.9 and after < 0.35
    keep = torch.ones(1, clip.shape[-1], dtype=torch.bool)
    keep[:, 1000:2000] = False
    source = system.codec.encode(clip)
    filled = system.codec.decode(system.generator.sample(clip.shape[-1], Conditioning(), [7], OPTIONS,
                                                         Edit(source, keep)))
    assert torch.allclose(filled[..., keep[0]], clip[..., keep[0]], atol=1e-6)
    print(f"gap {distance(filled[..., 1000:2000], clip[..., 1000:2000]):.3f}")
    assert distance(filled[..., 1000:2000], clip[..., 1000:2000]) < 0.35
