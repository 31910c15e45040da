"""audio-diffusion over pixels and over latents: each gives back the one clip that it was trained on."""

import pytest
import torch
from overfitting import batch_of, distance, one_clip, train

from orchestrion.contracts import Batch, Conditioning, Prompt
from orchestrion.generators.diffusion import DiffusionOptions
from orchestrion.systems.system import find_system


def test_overfits_one_clip_in_pixels():
    """Any seed makes the clip's image: its error falls below a tenth of an untrained model's (noise: about 2)."""
    recipe = find_system("audio-diffusion").recipe("nano")
    (stage,) = recipe.stages
    torch.manual_seed(0)
    system = recipe.system.build().eval()
    clip = one_clip(system.codec, stage)
    with torch.no_grad():
        image = system.codec.encode(clip)

    def error():
        made = system.generator.eval().sample(32, Conditioning(), [0, 1], DiffusionOptions(steps=12))
        return ((made - image).square().mean() / image.var()).item()

    before = error()
    train(system, stage, batch_of(clip, 4, latents=image), 120)
    assert error() < 0.1 * before


@pytest.mark.slow
def test_the_autoencoder_overfits_one_clip_and_its_latents_carry_it():
    recipe = find_system("latent-audio-diffusion").recipe("nano")
    torch.manual_seed(0)
    system = recipe.system.build().eval()
    stage = recipe.stages[0]
    clip = one_clip(system.codec, stage)
    first, last = train(system, stage, batch_of(clip, 2), 150)
    assert last < 0.35 * first
    codec = system.codec
    with torch.no_grad():
        image = codec.image.analyse(codec.pad(clip))
        made = codec.vae.decode(codec.vae.encode(image).mean)
    assert distance(made - image.mean(), image - image.mean()) < 0.15
    codec.fit([clip])
    with torch.no_grad():
        latents = codec.encode(clip)
    assert latents.mean().abs() < 0.05 and latents.std().item() == pytest.approx(1, abs=0.1)
    before, after = train(system, recipe.stages[1], Batch(latents=latents.expand(4, -1, -1, -1)), 150)
    made = system.generator.eval().sample(16, Conditioning(), [0, 1], DiffusionOptions(steps=12))
    assert ((made - latents).square().mean() / latents.var()).item() < 0.2 and after < before


@pytest.mark.slow
def test_the_conditional_variant_learns_which_clip_is_meant():
    """Two clips, one model: each comes when something like it is asked for. The wrong one would be as far as noise."""
    recipe = find_system("conditional-audio-diffusion").recipe("nano")
    (stage,) = recipe.stages
    torch.manual_seed(0)
    system = recipe.system.build().eval()
    clips = torch.cat([one_clip(system.codec, stage, seed) for seed in (0, 5)])
    with torch.no_grad():
        images = system.codec.encode(clips)

    def errors():
        asked = system.conditioner.guided([Prompt(audio=clip) for clip in clips])
        made = system.generator.eval().sample(32, asked, [0, 1], DiffusionOptions(steps=12))
        return [((made - other).square().mean((1, 2, 3)) / images.var()).tolist() for other in (images, images.flip(0))]

    before = errors()[0]
    train(system, stage, Batch(audio=clips.repeat(2, 1, 1)), 200)
    right, wrong = errors()
    print(f"error {before} -> {right}, of the other clip {wrong}")
    assert max(right) < 0.15 * min(before) and max(right) < 0.3 * min(wrong)
