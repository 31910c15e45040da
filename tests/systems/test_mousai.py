import pytest
import torch
from overfitting import batch_of, distance, one_clip, train

from orchestrion.contracts import Conditioning, Continuous, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionOptions
from orchestrion.nn.unet1d import UNet1dConfig
from orchestrion.nn.unet1d_denoiser import UNet1dDenoiserConfig
from orchestrion.systems.mousai import mousai

LEVELS = UNet1dConfig(channels=(8,), factors=(2,), items=(1,), cross_attentions=(1,), heads=2, head_width=8,
                      features=16, groups=4)
WORDS = ("a calm waltz", "a fast march")


class Words:
    fills, width = frozenset({"sequence"}), 6


@pytest.mark.slow
def test_overfit_one_clip_by_its_words():
    """Two clips under two prompts: each prompt gives its own back."""
    recipe = mousai("nano")
    system = recipe.system.build()
    codec_stage, stage = recipe.stages
    system.conditioner.fit([Prompt(text=text) for text in WORDS])
    clips = [one_clip(system.codec, stage, seed) for seed in (0, 1)]
    train(system, codec_stage, batch_of(clips[0][..., :4096], 4), 40)
    with torch.no_grad():
        system.codec.fit(clips)
        latents = torch.cat([system.codec.encode(clip) for clip in clips])[..., :64]
    batch = batch_of(None, 8, latents=latents[:1])
    batch.latents, batch.prompts = latents.repeat(4, 1, 1), [Prompt(text=text) for text in WORDS] * 4

    def measure():
        conditioning = system.conditioner.guided([Prompt(text=text) for text in WORDS])
        made = system.generator.sample(64, conditioning, [5, 5], DiffusionOptions(steps=16))
        return [distance(one, latent) for one, latent in zip(made, latents)]

    before = measure()
    first, last = train(system, stage, batch, 400)
    after = measure()
    print(f"mousai: loss {first:.3f} -> {last:.3f}, distances {before} -> {after}")
    assert min(before) > 0.8 and max(after) < 0.2 < distance(latents[0], latents[1])


def test_a_learned_null_stands_for_dropped_prompts():
    torch.manual_seed(0)
    net = UNet1dDenoiserConfig(levels=LEVELS, nulls=5).build(Continuous(2, 10.0), Words()).eval()
    conditioning = Conditioning(sequence=torch.randn(2, 4, 6), mask=torch.arange(4).expand(2, 4) < 3)
    dropped = net.drop(conditioning, torch.tensor([True, False]))
    assert torch.equal(dropped.sequence[0], net.net.null[:4]) and dropped.mask[0].all()
    assert torch.equal(dropped.sequence[1], conditioning.sequence[1]) and not dropped.mask[1].all()
    assert torch.equal(net.null(conditioning).sequence[1], net.net.null[:4])
    with pytest.raises(UserError, match="at most 5 tokens"):
        net.drop(Conditioning(sequence=torch.randn(1, 6, 6)), torch.tensor([True]))


def test_the_words_count_and_a_net_that_hears_none_takes_none():
    torch.manual_seed(0)
    net = UNet1dDenoiserConfig(levels=LEVELS).build(Continuous(2, 10.0), Words()).eval()
    x, time = torch.randn(1, 2, 16), torch.tensor([0.5])
    said = net(x, time, Conditioning(sequence=torch.randn(1, 4, 6)))
    assert not torch.allclose(said, net(x, time, Conditioning()), atol=1e-4)
    with pytest.raises(UserError, match="fills the sequence"):
        UNet1dDenoiserConfig(levels=LEVELS).build(Continuous(2, 10.0), None)
    with pytest.raises(UserError, match="waveforms and latents"):
        UNet1dDenoiserConfig(levels=LEVELS).build(Continuous(2, 10.0, bands=8), Words())
