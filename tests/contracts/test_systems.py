"""One test body over every system's page: what each codec, generator and recipe must keep."""

import math

import pytest
import torch

import orchestrion.systems  # noqa: F401  (fills the table)
from orchestrion.contracts import Conditioning, Continuous, Exact
from orchestrion.errors import UserError
from orchestrion.systems.system import SYSTEMS, Recipe, find_system

NAMES = sorted(SYSTEMS)


@pytest.fixture(scope="module", params=NAMES)
def recipe(request):
    return find_system(request.param).recipe("nano")


@pytest.fixture(scope="module")
def system(recipe):
    torch.manual_seed(0)
    return recipe.system.build().eval()


@pytest.mark.parametrize("name", NAMES)
def test_every_size_is_plain_data_and_comes_back(name):
    for size in SYSTEMS[name].sizes:
        recipe = find_system(name).recipe(size)
        assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert SYSTEMS[name].summary
    with pytest.raises(UserError, match="has no size"):
        find_system(name).recipe("enormous")


def test_stages_train_parts_that_exist_and_reach_every_parameter(recipe, system):
    trained = {id(p) for stage in recipe.stages for p in system.part(stage.trains).parameters()}
    parts = [system.codec] + ([system.generator] if system.generator else [])
    assert {id(p) for part in parts for p in part.parameters()} <= trained
    assert len({stage.name for stage in recipe.stages}) == len(recipe.stages)


def test_a_codec_keeps_its_space(system):
    codec = system.codec
    assert codec.frame == pytest.approx(codec.sample_rate / codec.space.rate)
    length = 3 * codec.multiple_of + 17
    audio = 0.1 * torch.randn(2, codec.channels, length)
    with torch.no_grad():
        latents = codec.encode(audio)
        made = codec.decode(latents, length)
    width = codec.space.channels if isinstance(codec.space, Continuous) else codec.space.codebooks
    assert latents.shape[:2] == (2, width) and latents.shape[-1] == 4 * codec.multiple_of // codec.frame
    assert made.shape == audio.shape and made.isfinite().all()


def test_a_clip_is_coded_the_same_alone_and_in_a_batch(system):
    codec = system.codec
    audio = 0.1 * torch.randn(2, codec.channels, 2 * codec.multiple_of)
    with torch.no_grad():
        batch, alone = codec.encode(audio), codec.encode(audio[1:])
        assert torch.allclose(batch[1], alone[0], atol=1e-4)
        made, peak = codec.decode(batch), codec.decode(batch).abs().max().item()
        # phase recovery divides by magnitudes near zero, and an untrained decoder is loud
        assert torch.allclose(made[1], codec.decode(batch[1:])[0], atol=1e-4 if peak < 1 else 2e-3 * peak)


def test_standardised_latents_have_zero_mean_and_unit_variance(system):
    codec = system.codec
    if not isinstance(codec.space, Continuous):
        pytest.skip("tokens have no scale")
    mean, deviation = codec.mean.clone(), codec.deviation.clone()
    audio = [0.3 * torch.randn(2, codec.channels, 8 * codec.multiple_of) for _ in range(2)]
    with torch.no_grad():
        codec.fit(audio)
        latents = torch.cat([codec.encode(a) for a in audio]).transpose(0, 1).flatten(1)
        made = codec.decode(codec.encode(audio[0]))
    codec.mean.copy_(mean), codec.deviation.copy_(deviation)
    assert latents.mean(1).abs().max() < 0.3  # not 0 where two channels share one codec's statistics
    assert latents.mean(1).mean().abs() < 1e-2
    spread = latents.std(1)
    assert ((spread - 1).abs() < 0.2).float().mean() > 0.95  # but for dead channels
    with torch.no_grad():
        again = codec.synthesise(codec.analyse(audio[0]))
    assert torch.allclose(made, again, atol=1e-3 * max(1, made.abs().max()))  # standardising and its inverse cancel


def test_chunks_equal_the_whole(system):
    codec = system.codec
    if not isinstance(codec.chunking, Exact):
        pytest.skip("windows of this codec are cross-faded")
    step = codec.multiple_of // codec.frame
    context = math.ceil(codec.chunking.context / step) * step
    count = 2 * context + 6 * step
    with torch.no_grad():
        bands = [codec.space.bands] if codec.space.bands else []
        latents = torch.randn(1, codec.space.channels, *bands, count)
        whole = codec.decode(latents)
        chunk = codec.decode(latents[..., : count - 2 * step])
    safe = (count - 2 * step - context) * codec.frame
    assert torch.allclose(chunk[..., :safe], whole[..., :safe], atol=1e-4)


def test_a_generator_fills_its_space(system):
    generator = system.generator
    if generator is None:
        pytest.skip("a codec alone")
    frames = 3 * generator.multiple_of
    with torch.no_grad():
        batch = generator.sample(frames, Conditioning(), [1, 2])
        alone = generator.sample(frames, Conditioning(), [2])
        again = generator.sample(frames, Conditioning(), [1, 2])
    space = system.codec.space
    bands = [space.bands] if getattr(space, "bands", None) else []
    assert batch.shape == (2, space.channels, *bands, frames) and batch.isfinite().all()
    assert torch.equal(batch, again) and torch.allclose(batch[1], alone[0], atol=1e-4)
    assert not torch.allclose(batch[0], batch[1])


def test_every_objective_yields_named_weighted_losses_for_its_groups(recipe, system):
    from orchestrion.training.run import fake_batch

    for stage in recipe.stages:
        system.requires_grad_(False)
        system.part(stage.trains).requires_grad_(True)
        objective = stage.objective.build(system)
        groups = objective.groups()
        seen = []
        for group, losses in objective.losses(fake_batch(system, stage, system.codec.channels), 0):
            seen.append(group)
            total = sum(objective.weights[name] * loss for name, loss in losses.items() if name in objective.weights)
            gradients = torch.autograd.grad(total, groups[group], allow_unused=True)
            assert any(g is not None and g.abs().sum() > 0 for g in gradients)
            assert losses.keys() & objective.weights.keys()
        assert set(seen) == set(groups)
    system.requires_grad_(False)
