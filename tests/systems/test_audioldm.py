"""AudioLDM: what it hears while training it understands in words, and it gives back the clips that it learned."""

import dataclasses

import pytest
import torch
from overfitting import batch_of, distance, one_clip, train

from orchestrion.contracts import Batch, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionOptions
from orchestrion.objectives.diffusion import DenoiseConfig
from orchestrion.objectives.heard_diffusion import HeardDenoiseConfig, heard_at, mix
from orchestrion.systems.system import find_system

CAPTIONS = ("a calm waltz on the harp", "a fast march, high and busy")


def nano():
    recipe = find_system("audioldm").recipe("nano")
    torch.manual_seed(0)
    return recipe, recipe.system.build().eval()


def errors(system, texts, latents, seeds):
    """Of what each text gives, the distance to each clip's latents `[texts clips]`."""
    conditioning = system.conditioner.guided([Prompt(text=text) for text in texts])
    made = system.generator.sample(latents.shape[-1], conditioning, seeds, DiffusionOptions(steps=12, cfg_scale=1.5))
    return torch.tensor([[distance(one, latent) for latent in latents] for one in made])


@pytest.mark.slow
def test_two_captions_give_two_clips():
    """The diffusion hears the clips and is never told a caption, yet each caption gives its own clip."""
    recipe, system = nano()
    hearing, diffusion = recipe.stages[0], recipe.stages[-1]
    clips = torch.cat([one_clip(system.codec, diffusion, seed) for seed in (0, 1)])
    prompts = [Prompt(text=text) for text in CAPTIONS]
    system.conditioner.fit(prompts)
    batch = Batch(audio=clips, prompts=prompts)
    train(system, hearing, batch, 150)
    with torch.no_grad():  # an untrained autoencoder's latents are as good to learn as any
        system.codec.fit([clips])
        latents = system.codec.encode(clips)
        nearness = system.conditioner.read(prompts) @ system.conditioner.hear(clips).mT
    print(f"audioldm: cosines of captions and clips {nearness.tolist()}")
    assert (nearness.diagonal() - nearness.fliplr().diagonal()).min() > 0.3
    before = errors(system, CAPTIONS, latents, [5, 5])
    first, last = train(system, diffusion, batch, 300)
    after = errors(system, CAPTIONS, latents, [5, 5])
    print(f"audioldm: loss {first:.3f} -> {last:.3f}, distances {before.tolist()} -> {after.tolist()}, between the "
          f"clips {distance(latents[0], latents[1]):.2f}")
    assert before.diagonal().min() > 0.8
    assert after.diagonal().max() < 0.5 < after.fliplr().diagonal().min()


@pytest.mark.slow
def test_overfits_one_clip():
    recipe, system = nano()
    diffusion = recipe.stages[-1]
    clip = one_clip(system.codec, diffusion)
    system.conditioner.fit([Prompt(text=CAPTIONS[0])])
    with torch.no_grad():  # an untrained autoencoder's latents are as good to learn as any
        system.codec.fit([clip])
        latents = system.codec.encode(clip)
    before = errors(system, CAPTIONS[:1], latents, [1])
    first, last = train(system, diffusion, batch_of(clip, 4), 200)
    after = errors(system, CAPTIONS[:1], latents, [1])
    print(f"audioldm: loss {first:.3f} -> {last:.3f}, distance {before.item():.3f} -> {after.item():.3f}")
    assert after.item() < 0.3 * before.item()


def test_a_mix_keeps_its_energy_and_is_what_it_is_made_of():
    torch.manual_seed(0)
    first, second = torch.randn(3, 1, 8000), 0.1 * torch.randn(3, 1, 8000)
    for share in (0.0, 0.3, 0.5, 1.0):
        made = mix(first, second, torch.full((3, 1, 1), share))
        energy = share * first.square().mean() + (1 - share) * second.square().mean()
        assert made.square().mean().item() == pytest.approx(energy.item(), rel=0.02)
    assert torch.allclose(mix(first, second, torch.ones(3, 1, 1)), first, atol=1e-5)
    assert not mix(0 * first, 0 * first, torch.full((3, 1, 1), 0.5)).any()


def test_the_sound_steers_the_training_and_captions_only_where_they_are_asked_for():
    """One batch with the same noise: another caption changes nothing, unless clips are to be read."""
    recipe, system = nano()
    stage = recipe.stages[-1]
    system.conditioner.fit([Prompt(text=text) for text in CAPTIONS])
    for p in system.generator.parameters():  # an untrained U-Net would not listen yet
        torch.nn.init.normal_(p, std=0.05)
    clip = one_clip(system.codec, stage)

    def loss(text, **changes):
        config = dataclasses.replace(stage.objective, mixed=0.0, drop=0.0, **changes)
        torch.manual_seed(1)
        ((_, terms),) = config.build(system).losses(batch_of(clip, 2, text), 0)
        return terms["denoise"].item()

    assert loss(CAPTIONS[0]) == loss(CAPTIONS[1]) != loss(CAPTIONS[0], read=1.0) != loss(CAPTIONS[1], read=1.0)


def test_a_conditioner_hears_at_its_own_rate():
    _, system = nano()
    (heard,) = heard_at(system.conditioner, torch.randn(1, 1, 22_050), 22_050)
    assert heard.shape == (1, 44_100)


def test_a_system_that_hears_nothing_is_refused():
    system = find_system("audio-diffusion").recipe("nano").system.build()
    with pytest.raises(UserError, match="can't hear"):
        HeardDenoiseConfig().build(system)
    assert DenoiseConfig().build(system)
