"""Musika's stages, driven as the training loop drives them: one optimiser a group, a step after every yield."""

from types import SimpleNamespace

import pytest
import torch

from orchestrion.codecs.musika import MusikaCodecConfig
from orchestrion.codecs.per_channel import PerChannelConfig
from orchestrion.conditioners.attributes import AttributesConfig
from orchestrion.contracts import Batch, Conditioning, Continuous, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.latent_gan import LatentGanConfig
from orchestrion.objectives.latent_gan import LatentGanObjectiveConfig
from orchestrion.objectives.musika_codec import MusikaCodecObjectiveConfig

NANO_CODEC = MusikaCodecConfig(sample_rate=11_025, hop=64, width=24, frame_latents=16, latents=16)
NANO_GAN = LatentGanConfig(base_channels=16, latlen=16, coordinates=8, style=8, multipliers=(6, 4))


def parts(codec=None, generator=None, conditioner=None):
    return SimpleNamespace(codec=codec, generator=generator, conditioner=conditioner)


def train(objective, batch, steps, rate, betas=(0.5, 0.9)):
    groups = objective.groups()
    optimisers = {name: torch.optim.Adam(p, rate, betas=betas) for name, p in groups.items()}
    for step in range(steps):
        for name, terms in objective.losses(batch, step):
            total = sum(objective.weights[key] * value for key, value in terms.items())
            gradients = torch.autograd.grad(total, groups[name], allow_unused=True)
            for parameter, gradient in zip(groups[name], gradients):
                parameter.grad = gradient
            optimisers[name].step()


def notes(sample_rate, samples):
    """Three struck notes `[1 1 t]`."""
    time = torch.arange(samples) / sample_rate
    clip = torch.zeros(samples)
    for pitch, start in ((440.0, 0.02), (660.0, 0.13), (550.0, 0.25)):
        after = (time - start).clamp_min(0)
        clip += 0.2 * (time >= start) * torch.exp(-6 * after) * torch.sin(2 * torch.pi * pitch * after)
    return clip[None, None]


def test_the_codec_overfits_one_clip_level_by_level():
    torch.manual_seed(0)
    codec = NANO_CODEC.build()
    clip = notes(11_025, codec.multiple_of)

    def errors():
        """Mean error of the level in normalised dB (75 dB is 1), and of the magnitudes, where silence is 1; both of
        the spectrogram of what is heard, with its invented phase."""
        with torch.no_grad():
            level, true = codec.levels(codec.decode(codec.encode(clip))), codec.levels(clip)
        made, real = (10 ** ((x * 75 - 25) / 20) for x in (level, true))
        return (level - true).abs().mean().item(), ((made - real).norm() / real.norm()).item()

    untrained = errors()
    for level in (1, 2):
        codec.requires_grad_(False)
        codec.get_submodule(f"level{level}").requires_grad_(True)
        kept = {k: v.clone() for k, v in codec.state_dict().items() if not k.startswith(f"level{level}")}
        objective = MusikaCodecObjectiveConfig(level=level, windows=(256, 1024), critic_width=4).build(parts(codec))
        train(objective, Batch(audio=clip), steps=120, rate=3e-3, betas=(0.8, 0.99))
        assert all(torch.equal(codec.state_dict()[k], v) for k, v in kept.items())
    trained = errors()
    assert untrained[0] > 0.3 and untrained[1] > 0.95
    assert trained[0] < 0.45 * untrained[0] and trained[1] < 0.85


def test_level_1_is_heard_without_level_2_and_level_2_through_the_codec():
    torch.manual_seed(0)
    codec = PerChannelConfig(mono=NANO_CODEC).build()
    clip = 0.1 * torch.randn(3, 2, codec.multiple_of + 5)
    with torch.no_grad():
        for weights in codec.mono.level2.parameters():
            weights.fill_(torch.nan)
        heard = MusikaCodecObjectiveConfig(level=1, critic_width=4).build(parts(codec)).reconstruct(clip)
        assert heard.shape == (3, 2, codec.multiple_of) and heard.isfinite().all()
        swapped = MusikaCodecObjectiveConfig(level=1, critic_width=4).build(parts(codec)).reconstruct(clip.flip(1))
    assert (heard.flip(1) - swapped).abs().mean() < 0.2 * heard.std()  # but for the noise, each channel by itself
    assert MusikaCodecObjectiveConfig(level=2, critic_width=4).build(parts(codec)).reconstruct(clip) is None


def test_a_silent_clip_weighs_no_more_than_another_in_the_distance():
    """Hiss at -60 dB under nothing: its gradient stays below that of hiss of the same level under notes."""
    objective = MusikaCodecObjectiveConfig(windows=(256, 1024), critic_width=4).build(parts(NANO_CODEC.build()))
    tune = notes(11_025, 4096)[:, 0]
    real = torch.cat([tune, torch.zeros_like(tune)])
    made = (real + 1e-3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    objective.distance(real, made).backward()
    under_notes, under_nothing = made.grad.norm(dim=1)
    assert under_nothing < 2 * under_notes


@pytest.mark.parametrize("relative", [False, True])
def test_the_gan_overfits_one_clip(relative):
    """The halves of a window can't know which half they are, so the clip repeats itself every half window."""
    torch.manual_seed(0)
    gan = NANO_GAN.build(Continuous(16, 10.0), None)
    steps = torch.arange(16)
    clip = 1.2 * torch.stack([torch.sin(2 * torch.pi * (steps / 8 * (k % 3 + 1) + k / 7)) for k in range(16)])

    def error():
        made = gan.sample(16, Conditioning(), list(range(16)))
        return ((made - clip).square().mean((1, 2)).sqrt().median() / clip.std()).item()

    untrained = error()
    objective = LatentGanObjectiveConfig(relative=relative).build(parts(generator=gan))
    train(objective, Batch(latents=clip.repeat(8, 1, 1)), steps=300, rate=5e-3, betas=(0.5, 0.999))
    assert untrained > 1.2 and error() < 0.5  # 1 is silence


@pytest.fixture
def gan():
    torch.manual_seed(0)
    return LatentGanConfig(base_channels=4, latlen=16, coordinates=4, style=4, multipliers=(2, 2)).build(
        Continuous(6, 10.0), None)


def critic_turn(objective, latents):
    return next(iter(objective.losses(Batch(latents=latents), 0)))


class Linear(torch.nn.Module):
    """A critic w·x, whose slope is w everywhere."""

    def __init__(self, slope):
        super().__init__()
        self.slope = torch.nn.Parameter(slope)

    def forward(self, x, extra=None):
        return (x * self.slope).sum((1, 2)) + 1000  # what all clips share says nothing


@pytest.mark.parametrize("relative", [False, True])
def test_the_penalty_is_the_squared_slope_where_it_is_held(gan, relative):
    objective = LatentGanObjectiveConfig(relative=relative).build(parts(generator=gan))
    slope = torch.randn(6, 16)
    objective.critic = Linear(slope)
    _, terms = critic_turn(objective, torch.randn(3, 6, 16))
    assert torch.isclose(terms["penalty"], (1 + relative) * slope.square().sum())


def test_a_relative_critic_compares_pairs(gan, monkeypatch):
    objective = LatentGanObjectiveConfig(relative=True).build(parts(generator=gan))
    objective.critic = Linear(torch.full((6, 16), 0.01))
    made, real = torch.zeros(3, 6, 16), torch.full((3, 6, 16), 1.0)
    made.requires_grad_()
    monkeypatch.setattr(gan, "imagine", lambda count, extra: made + 0)
    (_, critic), (_, generator) = objective.losses(Batch(latents=real), 0)
    apart = torch.tensor(0.01 * 6 * 16)  # the real clip stands above the made one by w·1
    assert torch.isclose(critic["critic"], torch.log1p((-apart).exp()), atol=1e-4)
    assert torch.isclose(generator["generator"], torch.log1p(apart.exp()), atol=1e-4)
    toward, = torch.autograd.grad(generator["generator"], made)
    assert torch.allclose(toward, -0.01 * torch.sigmoid(apart) / 3 * torch.ones(1), atol=1e-5)
    assert objective.score == pytest.approx(apart.item(), abs=1e-3) and objective.health() is None


@pytest.mark.parametrize("gap, moves", [(3.0, -1), (0.5, 1), (-1.0, 1)])
def test_the_switch_follows_the_critics_certainty(gan, gap, moves):
    objective = LatentGanObjectiveConfig(patience=0.01).build(parts(generator=gan))
    objective.switch.fill_(-0.5)
    objective._turn(torch.tensor(gap))
    assert objective.switch.item() == pytest.approx(-0.5 + moves * 0.01)
    assert objective.weights["penalty"] == pytest.approx(10 * (0.5 - moves * 0.01))
    for _ in range(200):
        objective._turn(torch.tensor(gap))
    assert objective.switch.item() == (-1 if moves < 0 else 0)


def test_without_penalty_no_slope_is_computed(gan):
    objective = LatentGanObjectiveConfig(patience=0.0).build(parts(generator=gan))
    objective.switch.zero_()
    assert set(critic_turn(objective, torch.randn(3, 6, 16))[1]) == {"critic"}


def test_fine_tuning_finds_critic_and_switch(gan):
    objective = LatentGanObjectiveConfig().build(parts(generator=gan))
    objective.switch.fill_(-0.3)
    state = objective.state_dict()
    assert not [key for key in state if key.startswith(("parts", "generator"))]
    other = LatentGanObjectiveConfig().build(parts(generator=gan))
    other.load_state_dict(state)
    assert other.switch == objective.switch
    x = torch.randn(2, 6, 16)
    assert torch.equal(other.critic(x), objective.critic(x))


def test_longer_clips_are_cropped_and_channels_swapped(gan):
    codec = SimpleNamespace(channels=2, space=Continuous(6, 10.0))
    objective = LatentGanObjectiveConfig(swap_channels=True).build(parts(codec, gan))
    ramp = torch.arange(40.0).expand(64, 6, 40).clone()
    ramp[:, 3:] += 100
    windows = objective._windows(Batch(latents=ramp))
    left, right = windows[:, 0], windows[:, 3]
    assert ((right - left).abs() == 100).all() and 10 < ((right - left) < 0).all(1).sum() < 54
    assert (windows.diff(dim=-1) == 1).all() and windows[..., 0].remainder(100).unique().numel() > 10
    with pytest.raises(UserError, match=r"crop to 1\.6 seconds"):
        objective._windows(Batch(latents=ramp[..., :15]))


def test_prompts_steer_and_some_are_taken_away():
    torch.manual_seed(0)
    conditioner = AttributesConfig().build()
    conditioner.fit([Prompt(attributes={"tempo": t}) for t in (80.0, 120.0)])
    gan = NANO_GAN.build(Continuous(6, 10.0), conditioner)
    objective = LatentGanObjectiveConfig(unprompted=0.5).build(parts(generator=gan, conditioner=conditioner))
    extra = objective._extra([Prompt(attributes={"tempo": 120.0})] * 200, torch.randn(200, 6, 16))
    assert extra.shape == (200, 2, 16)
    given = extra[:, 1, 0] == 1
    assert 70 < given.sum() < 130 and (extra[given, 0] == 1).all() and (extra[~given] == 0).all()


def test_what_does_not_fit_is_refused(gan):
    with pytest.raises(UserError, match="trains a latent GAN"):
        LatentGanObjectiveConfig().build(parts())
    with pytest.raises(UserError, match="levels 1 and 2"):
        MusikaCodecObjectiveConfig(level=3).build(parts(NANO_CODEC.build()))
    objective = MusikaCodecObjectiveConfig().build(parts(PerChannelConfig(mono=NANO_CODEC).build()))
    with pytest.raises(UserError, match="raise the stage's crop"):
        next(objective.losses(Batch(audio=torch.zeros(1, 2, 100)), 0))
    with pytest.raises(UserError, match="trains on audio"):
        next(objective.losses(Batch(latents=torch.zeros(1, 32, 4)), 0))


def test_scores_that_run_away_are_told(gan):
    objective = LatentGanObjectiveConfig().build(parts(generator=gan))
    critic_turn(objective, torch.randn(3, 6, 16))
    assert objective.health() is None
    with torch.no_grad():
        objective.critic.leave.weight.mul_(1e6)
    critic_turn(objective, torch.randn(3, 6, 16))
    assert "run away" in objective.health()
    with torch.no_grad():
        objective.critic.leave.weight.fill_(float("nan"))
    critic_turn(objective, torch.randn(3, 6, 16))
    assert "run away to nan" in objective.health()
