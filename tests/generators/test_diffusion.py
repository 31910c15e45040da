import pytest
import torch
from torch import nn

from orchestrion.contracts import Batch, Conditioner, Conditioning, Continuous, Discrete, Edit, Prompt
from orchestrion.errors import UserError
from orchestrion.generators import diffusion
from orchestrion.generators.diffusion import DiffusionConfig, DiffusionOptions
from orchestrion.nn.denoiser import Denoiser, DenoiserConfig
from orchestrion.objectives.diffusion import DenoiseConfig
from orchestrion.sampling.diffusion import SOLVERS
from orchestrion.sampling.guidance import window_starts
from orchestrion.sampling.parameterisations import Preconditioned, PredictsNoise, PredictsV, PredictsVelocity
from orchestrion.sampling.paths import Angle, Linear, Straight, VarianceExploding
from orchestrion.sampling.weighting import LogitNormal, LogNormal, MinSNR


class ConvNetConfig(DenoiserConfig):
    width: int = 32
    zero: bool = False
    placed: bool = False

    def build(self, space, conditioner):
        return ConvNet(self, space)


class ConvNet(Denoiser):
    """Three convolutions over time, told the noise's time, a vector, and (if `placed`) where in the clip it is."""

    multiple_of = 4
    accepts = frozenset({"vector"})

    def __init__(self, config, space):
        super().__init__()
        torch.manual_seed(0)
        inputs = space.channels * (space.bands or 1)
        self.net = nn.ModuleList([nn.Conv1d(inputs + 7, config.width, 9, padding=4),
                                  nn.Conv1d(config.width, config.width, 9, padding=4),
                                  nn.Conv1d(config.width, inputs, 9, padding=4)])
        self.vector = nn.Linear(2, config.width)
        self.placed = config.placed
        if config.zero:
            nn.init.zeros_(self.net[-1].weight), nn.init.zeros_(self.net[-1].bias)

    def forward(self, x, time, conditioning):
        flat = x.reshape(len(x), -1, x.shape[-1])
        told = torch.stack([time, torch.sin(6 * time), torch.cos(6 * time)], 1)[..., None].expand(-1, -1, x.shape[-1])
        place = self.placed * torch.arange(x.shape[-1]) / 32
        waves = torch.stack([torch.cos(torch.pi * k * place) for k in (1, 2, 4, 8)]).expand(len(x), -1, -1)
        hidden = nn.functional.gelu(self.net[0](torch.cat([flat, told, waves], 1)))
        if conditioning.vector is not None:
            hidden = hidden + self.vector(conditioning.vector)[..., None]
        return self.net[2](nn.functional.gelu(self.net[1](hidden))).reshape(x.shape)


class TempoConditioner(Conditioner):
    fills = frozenset({"vector"})

    def forward(self, prompts):
        tempo = torch.tensor([p.attributes.get("tempo", 0.0) for p in prompts])
        return Conditioning(vector=torch.stack([tempo / 100, torch.ones_like(tempo)], 1))


SPACE = Continuous(4, 20.0)
SMALL = DiffusionConfig(net=ConvNetConfig(), context=32, overlap=8)


def build(space=SPACE, conditioner=None, **changes):
    return DiffusionConfig(**{"net": ConvNetConfig(), "context": 32, "overlap": 8} | changes).build(space, conditioner)


class Parts:
    codec = None

    def __init__(self, generator, conditioner=None):
        self.generator, self.conditioner = generator, conditioner


def test_a_network_that_predicts_no_v_returns_noise():
    """v = 0 is exact for data of N(0, 1): the samples are N(0, 1)."""
    made = build(net=ConvNetConfig(zero=True)).sample(400, Conditioning(), [0, 1])
    assert made.shape == (2, 4, 400) and abs(made.mean()) < 0.1 and abs(made.std() - 1) < 0.1


@pytest.mark.parametrize("space", [SPACE, Continuous(2, 20.0, bands=6)])
@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_a_clip_is_the_same_alone_and_in_a_batch(solver, space):
    generator = build(space).eval()
    options = DiffusionOptions(steps=6, solver=solver)
    batch = generator.sample(72, Conditioning(), [3, 5], options)
    alone = generator.sample(72, Conditioning(), [5], options)
    assert batch.shape == (2, space.channels, *([space.bands] if space.bands else []), 72)
    assert torch.allclose(batch[1], alone[0], atol=1e-4) and not torch.allclose(batch[0], batch[1])


@pytest.mark.parametrize("options", [DiffusionOptions(steps=6), DiffusionOptions(steps=6, solver="ddpm", resamples=2)])
def test_kept_frames_are_bit_identical_and_the_rest_is_new(options):
    generator = build().eval()
    source, keep = torch.randn(1, 4, 100), torch.ones(1, 100, dtype=torch.bool)
    keep[:, 40:70] = False
    made = generator.sample(100, Conditioning(), [0], options, Edit(source, keep))
    assert torch.equal(made[..., keep[0]], source[..., keep[0]])
    assert not torch.allclose(made[..., 40:70], source[..., 40:70], atol=0.1)
    other = generator.sample(100, Conditioning(), [0], options, Edit(source + 1, keep))
    assert not torch.allclose(made[..., 40:70], other[..., 40:70])  # what is kept is heard by the rest


def test_strength_goes_from_the_source_to_something_new():
    generator = build(net=ConvNetConfig(zero=True)).eval()
    source, keep = torch.randn(1, 4, 64), torch.zeros(1, 64, dtype=torch.bool)
    far = [(generator.sample(64, Conditioning(), [0], edit=Edit(source, keep, s)) - source).square().mean()
           for s in (0.0, 0.25, 0.5, 1.0)]
    assert far[0] == 0 and far[1] < far[2] < far[3]
    assert generator.sample(64, Conditioning(), [0], edit=Edit(source, keep)).equal(
        generator.sample(64, Conditioning(), [0]))  # full strength is a new clip


def test_a_loop_has_no_joint():
    """Windows go round: what comes out of noise turned by a window's step is the same loop, turned."""
    generator = build().eval()
    predict = generator._prediction(Conditioning(), DiffusionOptions(loop=True))
    x, level = torch.randn(1, 4, 96), Angle().level(0.5)
    starts = window_starts(96, 32, 8, loop=True)
    assert starts[1] == 24
    turned = predict(x.roll(-24, -1), level).data.roll(24, -1)
    assert torch.allclose(predict(x, level).data, turned, atol=1e-5)
    straight = generator._prediction(Conditioning(), DiffusionOptions())
    assert not torch.allclose(straight(x, level).data, turned, atol=1e-3)
    assert generator.sample(96, Conditioning(), [0], DiffusionOptions(steps=4, loop=True)).shape == (1, 4, 96)


def test_interpolation_ends_at_its_ends():
    generator = build().eval()
    with torch.no_grad():
        generator.net.net[2].weight.mul_(0.2)
    a, b = generator.sample(48, Conditioning(), [1, 2]).split(1)
    made = generator.interpolate(a, b, [0.0, 0.5, 1.0], Conditioning(), DiffusionOptions(steps=20))
    assert torch.allclose(made[:1], a, atol=0.02) and torch.allclose(made[2:], b, atol=0.02)
    assert (made[1] - a[0]).square().mean() > 0.1 and (made[1] - b[0]).square().mean() > 0.1


def test_progress_reaches_the_end_and_never_goes_back():
    told = []
    generator = build()
    generator.sample(100, Conditioning(), [0], DiffusionOptions(steps=3), progress=told.append)
    assert told[-1] == 1 and told == sorted(told)
    told.clear()
    generator.interpolate(torch.randn(1, 4, 32), torch.randn(1, 4, 32), [0.5], Conditioning(),
                          DiffusionOptions(steps=3), told.append)
    assert told[-1] == 1 and told == sorted(told)


def test_guidance_leads_away_from_the_null_prompt():
    conditioner = TempoConditioner()
    generator = build(conditioner=conditioner).eval()
    asked, null = conditioner([Prompt(attributes={"tempo": 150})]), Conditioning(vector=torch.zeros(1, 2))
    made = [generator.sample(32, c, [0], DiffusionOptions(steps=4, cfg_scale=s))
            for c, s in ((null, 1.0), (asked, 1.0), (asked, 2.0))]
    far = [(m - made[0]).square().mean().item() for m in made]
    assert 0 == far[0] < far[1] < far[2]
    against = conditioner.guided([Prompt(attributes={"tempo": 150})])
    less = generator.sample(32, against, [0], DiffusionOptions(steps=4, cfg_scale=2.0))
    assert torch.equal(generator.net.null(against).vector, conditioner([Prompt()]).vector)
    assert torch.allclose(less, generator.sample(32, against, [0], DiffusionOptions(steps=4, cfg_scale=2.0)))


def test_a_guide_is_led_away_from():
    """Networks whose predictions are linear in what they tell: guided by a guide that says 0, as one that says 3 times
    as much; by itself, as without."""
    generator = build(net=ConvNetConfig(), guide=ConvNetConfig(zero=True)).eval()
    louder, plain = build().eval(), build().eval()
    with torch.no_grad():
        for weight in louder.net.net[-1].parameters():
            weight.mul_(3)
    options = DiffusionOptions(steps=4, solver="euler")

    def led(scale, until):
        asked = DiffusionOptions(steps=4, solver="euler", guide_scale=scale, guide_until=until)
        return generator.sample(64, Conditioning(), [0], asked)

    assert torch.allclose(led(3.0, 1.0), louder.sample(64, Conditioning(), [0], options), atol=1e-4)
    assert torch.equal(led(3.0, 0.0), plain.sample(64, Conditioning(), [0], options))
    told = []
    inner = generator.guide.forward
    generator.guide.forward = lambda x, time, said: told.append(time[0].item()) or inner(x, time, said)
    led(3.0, 0.5)
    assert sorted(set(told)) == [0.75, 1.0]
    by_itself = generator.sample(64, Conditioning(), [0], options)
    usual = DiffusionOptions(steps=4, solver="euler", guide_scale=SMALL.guide_scale)
    assert torch.equal(by_itself, generator.sample(64, Conditioning(), [0], usual))
    longer = build(net=ConvNetConfig(), guide=ConvNetConfig(zero=True), guide_until=1.0).eval()
    assert torch.equal(longer.sample(64, Conditioning(), [0], options), led(SMALL.guide_scale, 1.0))
    rests = generator.sample(64, Conditioning(), [0], DiffusionOptions(steps=4, solver="euler", guide_scale=1.0))
    assert torch.equal(rests, plain.sample(64, Conditioning(), [0], options)) and not torch.equal(rests, by_itself)
    with pytest.raises(UserError, match="has no guide"):
        plain.sample(32, Conditioning(), [0], DiffusionOptions(guide_scale=2.0))


def test_the_guide_learns_beside_the_network():
    torch.manual_seed(0)
    generator = build(guide=ConvNetConfig(width=8))
    batch = Batch(latents=torch.randn(4, 4, 32))
    ((_, terms),) = DenoiseConfig().build(Parts(generator)).losses(batch, 0)
    terms["guide"].backward()
    assert all(weight.grad is None for weight in generator.net.parameters())
    assert generator.guide.net[0].weight.grad.abs().sum() > 0
    generator.net.requires_grad_(False)
    ((_, terms),) = DenoiseConfig().build(Parts(generator)).losses(batch, 0)
    assert set(terms) == {"guide"}


def test_windows_at_once_are_the_windows_one_by_one(monkeypatch):
    conditioner = TempoConditioner()
    generator = build(conditioner=conditioner).eval()
    asked = conditioner.guided([Prompt(attributes={"tempo": tempo}) for tempo in (60, 150)])
    calls = []
    inner = generator.net.forward
    monkeypatch.setattr(generator.net, "forward", lambda x, *rest: calls.append(len(x)) or inner(x, *rest))
    options = DiffusionOptions(steps=3, cfg_scale=2.0)
    one_by_one = generator.sample(100, asked, [0, 1], options)
    assert set(calls) == {2}
    monkeypatch.setitem(diffusion.TOGETHER, "cpu", 3)
    at_once = generator.sample(100, asked, [0, 1], options)
    assert 6 in calls and torch.allclose(one_by_one, at_once, atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="continuous"):
        SMALL.build(Discrete(8, 1024, 50.0), None)
    with pytest.raises(UserError, match="multiple of 4"):
        build(context=30)
    with pytest.raises(UserError, match="pure noise"):
        build(path=Angle(), parameterisation=PredictsNoise())
    with pytest.raises(UserError, match="eta belongs"):
        build().sample(8, Conditioning(), [0], DiffusionOptions(eta=0.5))
    with pytest.raises(UserError, match="did you mean 'karras'"):
        build().sample(8, Conditioning(), [0], DiffusionOptions(schedule="karas"))


def test_the_objective_is_the_error_of_what_the_network_tells():
    """A network that says 0, for data of constant 2: E|ε|² = 1 for ε, E|v|² = (1 + 4)/2 over an even angle."""
    data = torch.full((256, 4, 32), 2.0)
    torch.manual_seed(0)
    for changes, wanted in (({"path": Linear(), "parameterisation": PredictsNoise()}, 1.0), ({}, 2.5)):
        generator = build(net=ConvNetConfig(zero=True), **changes)
        ((group, terms),) = DenoiseConfig().build(Parts(generator)).losses(Batch(latents=data), 0)
        assert group == "generator" and terms["denoise"].item() == pytest.approx(wanted, rel=0.05)


KINDS = {
    "v": {},
    "noise": {"path": Linear(), "parameterisation": PredictsNoise()},
    "edm": {"path": VarianceExploding(), "parameterisation": Preconditioned(data=1.0)},
    "flow": {"path": Straight(), "parameterisation": PredictsVelocity()},
}


TRAINING = {
    "v": DenoiseConfig(weighting=MinSNR()),
    "noise": DenoiseConfig(),
    "edm": DenoiseConfig(times=LogNormal(mean=0.5, spread=1.5)),
    "flow": DenoiseConfig(times=LogitNormal()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_overfits_one_clip(kind):
    """Trained on one clip, any seed gives it back: the error falls to a tenth of untrained."""
    clip = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(7))
    generator = build(net=ConvNetConfig(width=64, placed=True), **KINDS[kind])
    objective = TRAINING[kind].build(Parts(generator))
    options = DiffusionOptions(steps=16, solver="heun", schedule="karras" if kind == "edm" else "even")

    def error():
        made = generator.eval().sample(32, Conditioning(), [0, 1, 2], options)
        return (made - clip).square().mean().item()

    before = error()
    optimiser = torch.optim.AdamW(generator.parameters(), lr=4e-3)
    torch.manual_seed(0)
    generator.train()
    for step in range(150):
        for _, terms in objective.losses(Batch(latents=clip.expand(8, -1, -1)), step):
            optimiser.zero_grad()
            terms["denoise"].backward()
            optimiser.step()
    assert error() < 0.1 * before


def test_objective_uses_the_prompts_of_the_batch():
    conditioner = TempoConditioner()
    generator = build(conditioner=conditioner)
    seen = []
    generator.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2].vector))
    objective = DenoiseConfig(drop=0.5).build(Parts(generator, conditioner))
    torch.manual_seed(0)
    next(objective.losses(Batch(latents=torch.randn(200, 4, 8), prompts=[Prompt(attributes={"tempo": 120})] * 200), 0))
    share = (seen[0][:, 0] == 0).float().mean().item()
    assert 0.35 < share < 0.65 and PredictsV() == generator.config.parameterisation
