import itertools

import pytest
import torch

from orchestrion.contracts import Batch, Conditioning, Continuous, Discrete, Edit
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig, FlowOptions
from orchestrion.objectives.flow_matching import FlowMatchingConfig
from orchestrion.sampling.clips import clip_generators, clip_noise
from orchestrion.sampling.solvers import adams

SMALL = FlowConfig(net=DiTConfig(width=64, depth=2, heads=2), context=32, overlap=8)


def flow(config=SMALL, channels=4):
    torch.manual_seed(0)
    return config.build(Continuous(channels, 20.0), None)


class Parts:
    codec = conditioner = None

    def __init__(self, generator):
        self.generator = generator


def randomise(generator):
    """The network's last layer begins at zero; give it something to say."""
    torch.nn.init.normal_(generator.net.leave.weight, std=0.2)
    return generator.eval()


def test_an_untrained_flow_returns_its_noise():
    """Velocity zero: the samples are the noise itself, N(0, 1)."""
    made = flow().eval().sample(200, Conditioning(), [0, 1])
    assert made.shape == (2, 4, 200)
    assert abs(made.mean()) < 0.1 and abs(made.std() - 1) < 0.1


def test_a_clip_is_the_same_alone_and_in_a_batch():
    generator = randomise(flow())
    batch = generator.sample(70, Conditioning(), [3, 5])
    alone = generator.sample(70, Conditioning(), [5])
    assert torch.allclose(batch[1], alone[0], atol=1e-4) and not torch.allclose(batch[0], batch[1])


def test_kept_frames_stay_and_the_rest_is_made_to_fit():
    generator = randomise(flow())
    source = torch.randn(1, 4, 50)
    keep = torch.zeros(1, 50, dtype=torch.bool)
    keep[:, :20] = True
    made = generator.sample(50, Conditioning(), [0], edit=Edit(source, keep))
    assert torch.equal(made[..., :20], source[..., :20])
    assert not torch.allclose(made[..., 20:], source[..., 20:])
    other = generator.sample(50, Conditioning(), [0], edit=Edit(source + 1, keep))
    assert not torch.allclose(made[..., 20:], other[..., 20:])  # what is kept is heard by the rest


def test_strength_goes_from_the_source_to_something_new():
    generator = randomise(flow())
    source, keep = torch.randn(1, 4, 30), torch.zeros(1, 30, dtype=torch.bool)
    far = [(generator.sample(30, Conditioning(), [0], edit=Edit(source, keep, s)) - source).square().mean()
           for s in (0.0, 0.3, 1.0)]
    assert far[0] < 1e-10 and far[0] < far[1] < far[2]


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 100])
def test_any_length(frames):
    assert flow().sample(frames, Conditioning(), [0], FlowOptions(steps=2)).shape == (1, 4, frames)


def test_progress_reaches_the_end_and_never_goes_back():
    told = []
    flow().sample(100, Conditioning(), [0], FlowOptions(steps=3), progress=told.append)
    assert told[-1] == pytest.approx(1) and told == sorted(told)


def test_spaces_that_it_cannot_model_are_refused():
    with pytest.raises(UserError, match="continuous"):
        SMALL.build(Discrete(8, 1024, 50.0), None)
    with pytest.raises(UserError, match="overlap"):
        FlowConfig(context=16, overlap=16).build(Continuous(4, 20.0), None)


def test_the_objective_is_the_velocity_error_on_unknown_frames():
    """With velocity zero the loss is the mean of |data - noise|² = 1 + mean(data²)."""
    objective = FlowMatchingConfig().build(Parts(flow()))
    torch.manual_seed(1)
    data = 2 * torch.ones(256, 4, 32)
    ((group, terms),) = objective.losses(Batch(latents=data), 0)
    assert group == "generator" and terms["velocity"].item() == pytest.approx(1 + 4, rel=0.05)
    keep = objective._known(4000, 30, torch.device("cpu"))
    assert 0.45 < keep.any(1).float().mean() < 0.55 and not keep.all(1).any()


def test_overfits_one_clip():
    """Trained on one clip and given its beginning (positions are relative, so something must say where in the
    clip it is), any seed gives the rest: the error falls to a tenth of untrained."""
    generator = flow(FlowConfig(net=DiTConfig(width=64, depth=2, heads=2), context=32, overlap=8))
    clip = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(7))
    objective = FlowMatchingConfig(beginnings=1.0).build(Parts(generator))
    keep = (torch.arange(32) < 8).expand(3, -1)

    def error():
        made = generator.eval().sample(32, Conditioning(), [0, 1, 2], FlowOptions(steps=8),
                                       Edit(clip.expand(3, -1, -1), keep))
        return (made - clip)[..., 8:].square().mean().item()

    before = error()
    optimiser = torch.optim.AdamW(generator.parameters(), lr=3e-3)
    torch.manual_seed(0)
    generator.train()
    for step in range(250):
        for _, terms in objective.losses(Batch(latents=clip.expand(16, -1, -1)), step):
            optimiser.zero_grad()
            terms["velocity"].backward()
            optimiser.step()
    assert error() < 0.1 * before


GUIDED = FlowConfig(net=DiTConfig(width=64, depth=2, heads=2), guide=DiTConfig(width=8, depth=1, heads=1), context=32,
                    overlap=8)


def test_the_last_steps_lead_away_from_the_guide():
    """By hand: a path in two pieces, the second with guide + scale · (network - guide)."""
    generator = randomise(flow(GUIDED))
    torch.nn.init.normal_(generator.guide.leave.weight, std=0.2)
    none, keep, x = torch.zeros(1, 4, 16), torch.zeros(1, 16, dtype=torch.bool), clip_noise(clip_generators([3]), 16, 4)

    def led(x, time):
        plain, worse = (generator.velocity(x, x.new_full((1,), time), none, keep, None, net)
                        for net in (generator.net, generator.guide))
        return worse + 2.0 * (plain - worse)

    def plain(x, time):
        return generator.velocity(x, x.new_full((1,), time), none, keep)

    options = FlowOptions(steps=4, shift=1.0, guide_scale=2.0, guide_from=0.5)
    with torch.no_grad():
        x = adams(led, adams(plain, x.mT, [0.0, 0.25, 0.5]), [0.5, 0.75, 1.0])
    assert torch.allclose(generator.sample(16, Conditioning(), [3], options), x, atol=1e-5)


def test_a_guide_may_rest_and_no_guide_can_lead():
    alone, generator = randomise(flow()), flow(GUIDED).eval()
    generator.net.load_state_dict(alone.net.state_dict())
    torch.nn.init.normal_(generator.guide.leave.weight, std=0.2)
    plain = alone.sample(16, Conditioning(), [0])
    assert torch.equal(generator.sample(16, Conditioning(), [0], FlowOptions(guide_scale=1.0)), plain)
    assert torch.equal(generator.sample(16, Conditioning(), [0], FlowOptions(guide_from=1.0)), plain)
    by_itself, asked = (generator.sample(16, Conditioning(), [0], FlowOptions(guide_scale=scale))
                        for scale in (None, GUIDED.guide_scale))
    assert torch.equal(by_itself, asked) and not torch.allclose(asked, plain, atol=1e-3)
    with pytest.raises(UserError, match="has no guide"):
        alone.sample(16, Conditioning(), [0], FlowOptions(guide_scale=1.5))


def test_windows_cover_a_clip_and_the_last_is_no_sliver():
    """A clip a little too long for its windows is made in as many, each overlapping by a little less."""
    generator = flow()  # 32 frames at once, 8 of them known
    assert generator.starts(20) == [0] and generator.starts(32) == [0] and generator.starts(56) == [0, 24]
    assert generator.starts(57) == [0, 25] and generator.starts(58) == [0, 24, 48]
    for frames in range(1, 300):
        starts = generator.starts(frames)
        assert starts[-1] + 32 >= frames and all(24 <= b - a <= 25 for a, b in itertools.pairwise(starts))
    assert randomise(generator).sample(57, Conditioning(), [0]).isfinite().all()


def guided_by(generator, data):
    """The generator with the exact velocity towards data(known, keep, said), instead of its network's."""
    def velocity(x, time, known, keep, conditioning=None, net=None):
        return (data(known, keep, conditioning) - x) / (1 - time.view(-1, 1, 1))

    generator.velocity = velocity
    return generator


@pytest.mark.parametrize("frames", [9, 32, 50, 171])
def test_a_loops_end_runs_into_its_beginning(frames):
    """A player that begins at 0, rises by 1 a frame, and goes straight to what is known to come: a loop comes back."""
    def rising(known, keep, said):
        n = known.shape[-1]
        data = torch.arange(n, dtype=torch.float).expand_as(known)
        if keep.any():
            places = keep[0].nonzero()[:, 0]
            values = known[..., places]
            before = (places[None] <= torch.arange(n)[:, None]).sum(1) - 1
            after = (before + 1).clamp(max=len(places) - 1)
            share = (torch.arange(n) - places[before]) / (places[after] - places[before]).clamp(min=1)
            reach = torch.where(after == before, torch.arange(n) - places[before], 0)
            data = torch.lerp(values[..., before], values[..., after], share) + reach
        return data

    generator = guided_by(flow(), rising)
    line = generator.sample(frames, Conditioning(), [0])[0, 0]
    turn = generator.sample(frames, Conditioning(), [0], FlowOptions(loop=True))[0, 0]
    assert line.tolist() == pytest.approx(list(range(frames)), abs=1e-2) and turn.shape == line.shape
    rest = turn[: round(0.6 * frames)]
    assert rest.tolist() == pytest.approx(list(range(len(rest))), abs=1e-2)
    assert turn.roll(-1)[-1] - turn[-1] == pytest.approx((turn[-1] - turn[-2]).item(), abs=1e-2), "it arrives"
    assert turn[-1] - turn[-2] < -0.5


@pytest.mark.parametrize("frames", [20, 75])
def test_a_loop_hears_of_its_beat_all_the_way_round(frames):
    generator = guided_by(flow(), lambda known, keep, said: said.frames[:, :4])
    beat = (2 * torch.pi * 3 * torch.arange(frames + 9) / frames).sin().expand(1, 4, -1)
    generator.conditioned = True
    turn = generator.sample(frames, Conditioning(frames=beat), [0], FlowOptions(loop=True, cfg_scale=1.0))
    assert torch.allclose(turn, beat[..., :frames], atol=1e-4)


def test_a_loop_is_the_same_alone_and_in_a_batch_and_its_progress_ends():
    told = []
    generator = randomise(flow())
    turns = generator.sample(70, Conditioning(), [3, 4], FlowOptions(steps=2, loop=True), progress=told.append)
    assert told == sorted(told) and told[-1] == 1
    alone = generator.sample(70, Conditioning(), [4], FlowOptions(steps=2, loop=True))
    assert torch.allclose(turns[1], alone[0], atol=1e-4)
    with pytest.raises(UserError, match="ask for a longer one"):
        generator.sample(2, Conditioning(), [0], FlowOptions(loop=True))


def test_guidance_stresses_the_beat_and_costs_nothing_where_there_is_none():
    """Of velocities towards the beat and towards nothing, a scale of 2 leads to twice the beat."""
    rows = []

    def data(known, keep, said):
        rows.append(len(known))
        return said.frames[:, :4].expand_as(known)

    generator = guided_by(flow(), data)
    generator.conditioned = True
    beat, none = torch.randn(1, 4, 20), torch.zeros(1, 4, 20)
    stressed = FlowOptions(steps=3, cfg_scale=2.0, cfg_until=1.0)
    made = generator.sample(20, Conditioning(frames=beat, against=Conditioning(frames=none)), [0], stressed)
    assert torch.allclose(made, 2 * beat, atol=1e-4) and rows == [2, 2, 2]
    rows.clear()
    made = generator.sample(20, Conditioning(frames=none, against=Conditioning(frames=none)), [0], stressed)
    assert torch.allclose(made, none, atol=1e-4) and rows == [1, 1, 1]
