import math

import pytest
import torch

from orchestrion.contracts import Batch, Conditioning, Continuous, Discrete, Edit
from orchestrion.errors import UserError
from orchestrion.generators.prior import PriorConfig, PriorOptions
from orchestrion.objectives.prior import PriorObjectiveConfig

SMALL = PriorConfig(levels=16, width=32, skip=32, layers=4, cycle=2)
TOKENS = Discrete(3, 11, 20.0)


def prior(space=None, config=SMALL):
    torch.manual_seed(0)
    return config.build(space or Continuous(3, 20.0), None).eval()


class Parts:
    codec = conditioner = None

    def __init__(self, generator):
        self.generator = generator


def test_columns_set_components_back_and_come_back():
    generator = prior()
    levels = torch.arange(12).view(1, 3, 4)
    columns = generator.columns(levels)
    none = generator.nothing
    assert columns[0].tolist() == [[0, 1, 2, 3, none, none], [none, 4, 5, 6, 7, none], [none, none, 8, 9, 10, 11]]
    assert torch.equal(generator.frames(columns), levels)


def test_levels_are_equally_likely_and_restored_within_their_step():
    generator = prior()
    z = torch.randn(1, 3, 40_000)
    levels = generator.quantise(z)
    shares = torch.bincount(levels.flatten(), minlength=16) / levels.numel()
    assert (shares - 1 / 16).abs().max() < 0.003
    within = torch.rand(z.shape, dtype=torch.float64)
    again = generator.restore(levels, within)
    assert torch.equal(generator.quantise(again), levels)
    assert again.std() == pytest.approx(1, abs=0.02) and again.mean().abs() < 0.02


def test_no_column_foresees_itself():
    generator = prior()
    levels = torch.randint(16, (1, 3, 20))
    other = levels.clone()
    other[..., 12:] = 15 - other[..., 12:]
    with torch.no_grad():
        a, b = (generator.predicted(generator.restore(x, torch.full(x.shape, 0.5)))[0] for x in (levels, other))
    assert torch.allclose(a[..., :13], b[..., :13], atol=1e-5) and not torch.allclose(a[..., 13:], b[..., 13:])


def test_column_by_column_equals_at_once():
    generator = prior()
    columns = torch.randint(17, (2, 3, 30))
    with torch.no_grad():
        whole, _ = generator.logits(columns)
        state, found = None, []
        for column in columns.split(1, -1):
            made, state = generator.logits(column, state)
            found.append(made)
    assert torch.allclose(torch.cat(found, -1), whole, atol=1e-4)
    sizes = [sum(x.numel() for x in state)]
    with torch.no_grad():
        _, state = generator.logits(columns, state)
    assert [sum(x.numel() for x in state)] == sizes  # what is remembered doesn't grow


def test_it_draws_with_the_shares_that_it_tells():
    generator = prior(TOKENS)
    shares = torch.arange(1, 12) / 66
    with torch.no_grad():
        generator.leave.weight.direction.zero_()
        generator.common.copy_(shares.log().expand(3, -1))
    drawn = generator.sample(40, Conditioning(), list(range(60)))  # [60 3 40]
    for codebook in drawn.unbind(1):
        assert (torch.bincount(codebook.flatten(), minlength=11) / 2400 - shares).abs().max() < 0.03
    certain = generator.sample(10, Conditioning(), [0], PriorOptions(temperature=0))
    assert (certain == 10).all()


def test_kept_frames_stay_and_are_what_goes_before():
    generator = prior()
    with torch.no_grad():
        generator.leave.weight.direction.mul_(20)
    source = torch.randn(1, 3, 30)
    keep = (torch.arange(30) < 12)[None]
    made = generator.sample(30, Conditioning(), [0], edit=Edit(source, keep))
    assert torch.equal(made[..., :12], source[..., :12]) and not torch.equal(made[..., 12:], source[..., 12:])
    other = generator.sample(30, Conditioning(), [0], edit=Edit(-source, keep))
    assert not torch.allclose(made[..., 12:], other[..., 12:])
    assert generator.sample(1, Conditioning(), [0, 1]).shape == (2, 3, 1)


@pytest.mark.parametrize("space", [Continuous(3, 20.0), TOKENS])
def test_overfits_one_clip(space):
    """Given the beginning of the clip it was trained on, it tells every level of the rest."""
    generator = prior(space)
    rng = torch.Generator().manual_seed(7)
    clip = torch.randint(11, (1, 3, 24), generator=rng) if space is TOKENS else torch.randn(1, 3, 24, generator=rng)
    objective = PriorObjectiveConfig().build(Parts(generator))
    optimiser = torch.optim.Adam(generator.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        ((_, terms),) = objective.losses(Batch(latents=clip), step)
        losses.append(terms["surprise"].item())
        optimiser.zero_grad()
        terms["surprise"].backward()
        optimiser.step()
    assert losses[0] == pytest.approx(math.log(generator.levels), rel=0.3) and losses[-1] < 0.05
    keep = (torch.arange(24) < 5)[None]
    made = generator.sample(24, Conditioning(), [0], PriorOptions(temperature=0), Edit(clip, keep))
    assert torch.equal(generator.quantise(made), generator.quantise(clip))


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="models latents"):
        SMALL.build(Continuous(3, 20.0, bands=8), None)
    with pytest.raises(UserError, match="temperature"):
        PriorOptions(temperature=-1)
    with pytest.raises(UserError, match="autoregressive"):
        PriorObjectiveConfig().build(Parts(None))
