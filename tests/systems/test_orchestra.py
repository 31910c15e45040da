"""Two captions, two clips: words alone decide which of them is played."""

from dataclasses import replace

import pytest
import torch
from overfitting import distance, one_clip, train

from orchestrion.contracts import Batch, Prompt
from orchestrion.generators.flow import FlowOptions
from orchestrion.systems.orchestra import orchestra

CAPTIONS = ("slow soft harp", "busy loud organ")


@pytest.mark.slow
def test_two_captions_two_clips():
    """From any seed each caption gives its own clip back; with a word that nobody knows beside it, too. An untrained
    one gives noise, whose distance is about 2."""
    torch.manual_seed(0)
    recipe = orchestra("nano")
    stage, system = replace(recipe.stage("flow"), learning_rate=3e-3), recipe.system.build().eval()
    clips = torch.cat([one_clip(system.codec, stage, seed) for seed in (0, 1)])
    with torch.no_grad():
        system.codec.fit([clips])
        latents = system.codec.encode(clips)[..., :16]
    system.conditioner.fit([Prompt(text=text) for text in CAPTIONS])
    batch = Batch(latents=latents.repeat(4, 1, 1), prompts=[Prompt(text=text) for text in CAPTIONS] * 4)
    first, last = train(system, stage, batch, 600)
    said = ("slow soft harp", "busy loud organ", "a slow zyx harp", "quux loud organ")
    with torch.no_grad():
        conditioning = system.conditioner.guided([Prompt(text=text) for text in said])
        made = system.generator.sample(16, conditioning, [11, 12, 13, 14], FlowOptions(cfg_scale=1.0))
    own = [distance(clip, latents[i % 2]) for i, clip in enumerate(made)]
    other = [distance(clip, latents[1 - i % 2]) for i, clip in enumerate(made)]
    assert distance(latents[0], latents[1]) > 1  # the clips are not alike
    print(own, other)
    assert max(own) < 0.2 and min(other) > 0.8, (own, other)
    assert last < 0.5 * first
