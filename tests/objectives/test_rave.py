"""RAVE's stages, driven as the training loop drives them; every variant must give one clip back."""

from types import SimpleNamespace

import pytest
import torch

from orchestrion.codecs.rave import (
    QuantisedConfig,
    RaveConfig,
    RaveNoiseConfig,
    RaveV1Config,
    RaveV2Config,
    WassersteinConfig,
)
from orchestrion.contracts import Batch
from orchestrion.errors import UserError
from orchestrion.objectives.rave import RaveCriticsConfig, RaveObjectiveConfig, magnitudes
from orchestrion.systems.rave import rave

NET = {"capacity": 16, "ratios": (4, 2), "dilations": ((1, 3), (1,))}
BASE = {"sample_rate": 11_025, "latents": 16}
VARIANTS = {
    "v1": (RaveConfig(net=RaveV1Config(capacity=12, ratios=(4, 2), noise=RaveNoiseConfig(ratios=(4, 2))), **BASE),
           0.001),
    "v2": (RaveConfig(net=RaveV2Config(**NET), **BASE), 0.001),
    "v2 causal": (RaveConfig(net=RaveV2Config(**NET), causal=True, **BASE), 0.001),
    "v2 stereo": (RaveConfig(net=RaveV2Config(**NET), channels=2, **BASE), 0.001),
    "v2 noise": (RaveConfig(net=RaveV2Config(**NET, noise=RaveNoiseConfig(hidden=16)), **BASE), 0.001),
    "discrete": (RaveConfig(net=RaveV2Config(**NET), bottleneck=QuantisedConfig(codebooks=4, size=32, noise=4), **BASE),
                 0.1),
    "wasserstein": (RaveConfig(net=RaveV2Config(**NET), bottleneck=WassersteinConfig(noise=4), **BASE), 1.0),
    "v3": (RaveConfig(net=RaveV2Config(**NET, snake=True, adain=True), **BASE), 0.001),
}


def parts(codec):
    return SimpleNamespace(codec=codec, conditioner=None, generator=None)


def train(objective, batch, steps, rate):
    groups = objective.groups()
    optimisers = {name: torch.optim.Adam(p, rate, betas=(0.8, 0.99)) for name, p in groups.items()}
    for step in range(steps):
        for name, terms in objective.losses(batch, step):
            total = sum(objective.weights[key] * value for key, value in terms.items())
            gradients = torch.autograd.grad(total, groups[name], allow_unused=True)
            for parameter, gradient in zip(groups[name], gradients):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(groups[name], 10.0)
            optimisers[name].step()


def notes(channels=1, samples=2048, rate=11_025):
    """Three struck notes `[1 c t]`."""
    time = torch.arange(samples) / rate
    clip = torch.zeros(samples)
    for pitch, start in ((440.0, 0.01), (660.0, 0.06), (550.0, 0.12)):
        after = (time - start).clamp_min(0)
        clip += 0.3 * (time >= start) * torch.exp(-6 * after) * torch.sin(2 * torch.pi * pitch * after)
    return clip.expand(1, channels, -1).clone()


def overfit(name, steps):
    """-> spectral distance before and after, in use (without chance), and the codec."""
    torch.manual_seed(0)
    config, regular = VARIANTS[name]
    codec, clip = config.build(), notes(config.channels)
    settings = RaveObjectiveConfig(windows=(512, 128), regular=regular, regular_start=regular, regular_steps=1,
                                   epsilon=1e-2)
    objective = settings.build(parts(codec))

    def error():
        codec.eval()
        with torch.no_grad():
            value = objective.distance(clip, codec.decode(codec.encode(clip))).item()
        codec.train()
        return value

    before = error()
    train(objective, Batch(audio=clip), steps, 5e-3)
    return before, error(), codec, objective, clip


def test_v2_overfits_one_clip():
    before, after, *_ = overfit("v2", 100)
    assert before > 4 and after < 0.5 * before


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "v2"])
def test_every_variant_overfits_one_clip(name):
    before, after, *_ = overfit(name, 170)
    assert before > 4 and after < 0.5 * before


def test_the_second_stage_leaves_the_encoder_alone():
    torch.manual_seed(0)
    codec = VARIANTS["v2"][0].build()
    codec.requires_grad_(False)
    codec.decoder.requires_grad_(True)
    before = {name: p.clone() for name, p in codec.named_parameters()}
    settings = RaveObjectiveConfig(windows=(256,), critics=RaveCriticsConfig(width=4, layers=2, scales=1, periods=(2,),
                                                                             spectral_windows=(256,), every=2))
    objective = settings.build(parts(codec))
    seen = []
    for step in range(4):
        seen += [(name, set(terms)) for name, terms in objective.losses(Batch(audio=notes()), step)]
    assert [name for name, _ in seen] == ["critic", "codec", "codec"] * 2
    assert seen[1][1] == {"spectral", "bands", "feature_matching", "adversarial"}  # no KL: nothing could answer to it
    train(objective, Batch(audio=notes()), 2, 1e-3)
    changed = {name for name, p in codec.named_parameters() if not torch.equal(p, before[name])}
    assert changed and all(name.startswith("decoder") for name in changed)


def test_v1_wakes_its_noise_in_the_second_stage():
    codec = VARIANTS["v1"][0].build()
    RaveObjectiveConfig(windows=(256,)).build(parts(codec))
    assert codec.decoder.awake == 0
    RaveObjectiveConfig(windows=(256,), critics=RaveCriticsConfig(width=4, layers=2)).build(parts(codec))
    assert codec.decoder.awake == 1


def test_the_distance_is_nought_for_the_same_and_knows_a_gain():
    """Half the amplitude: a quarter of the energy is missing, and every logarithm is off by log 2."""
    objective = RaveObjectiveConfig(windows=(256,)).build(parts(VARIANTS["v2"][0].build()))
    audio = torch.randn(2, 1, 4096)
    assert objective.distance(audio, audio) == 0
    expected = 0.25 + torch.log(torch.tensor(2.0))
    assert objective.distance(audio, audio / 2).item() == pytest.approx(expected.item(), rel=1e-3)


def test_beta_grows_evenly_in_its_logarithm():
    objective = RaveObjectiveConfig(windows=(256,), regular=1e-2, regular_start=1e-6, regular_steps=100).build(
        parts(VARIANTS["v2"][0].build()))
    assert objective.regular_weight(49) == pytest.approx(1e-4)
    assert objective.regular_weight(99) == objective.regular_weight(5000) == pytest.approx(1e-2)


def test_sickness_is_told():
    objective = RaveObjectiveConfig(windows=(256,)).build(parts(VARIANTS["v2"][0].build()))
    assert objective.health() is None
    for _ in range(400):
        objective._watch(notes(), 1e-4 * notes(), torch.randn(1, 16, 20))
    assert "silent" in objective.health()
    objective.loudness.fill_(1)
    for _ in range(400):
        objective._watch(notes(), notes(), 0.01 * torch.randn(1, 16, 20))
    assert "collapsed: 0 of 16" in objective.health()


def test_effective_weights_are_those_of_the_reference():
    for size, matching, adversarial, spectral in (("v1", 100, 1, 1), ("v2", 400, 1, 1), ("wasserstein", 400, 4, 2)):
        objective = rave(size).stage("adversarial").objective
        assert (objective.feature_matching, objective.adversarial, objective.spectral) == (
            matching, adversarial, spectral)
    assert rave("v2").stage("adversarial").trains == "codec.decoder"
    assert rave("discrete").stage("adversarial").trains == "codec"


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="trains RAVE"):
        RaveObjectiveConfig().build(parts(SimpleNamespace()))
    objective = RaveObjectiveConfig(windows=(256,)).build(parts(VARIANTS["v2"][0].build()))
    with pytest.raises(UserError, match="trains on audio"):
        next(objective.losses(Batch(latents=torch.zeros(1, 16, 4)), 0))


@pytest.mark.parametrize("window", [64, 512])
def test_written_gradients_are_those_of_the_transform(window):
    audio = torch.randn(2, 3001, dtype=torch.float64)
    shape = torch.hann_window(window, dtype=torch.float64)
    a, b = (audio.clone().requires_grad_() for _ in range(2))
    made = magnitudes(a, shape)
    known = torch.stft(b, window, window // 4, window=shape, return_complex=True).abs().transpose(1, 2)
    assert torch.allclose(made, known)
    weights = torch.randn_like(known)
    (ours,), (theirs,) = (torch.autograd.grad((weights * x.log()).sum(), y) for x, y in ((made, a), (known, b)))
    assert torch.allclose(ours, theirs)
