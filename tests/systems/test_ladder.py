import pytest
import torch
from overfitting import batch_of, distance, one_clip, train

from orchestrion.contracts import Conditioning, Continuous, Edit
from orchestrion.errors import UserError
from orchestrion.generators.noise_ladder import LadderOptions, NoiseLadder, NoiseLadderConfig
from orchestrion.nn.unet1d import UNet1dConfig
from orchestrion.systems.ladder import ladder

LEVELS = UNet1dConfig(channels=(8,), factors=(4,), items=(1,), groups=4, features=0)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return NoiseLadder(NoiseLadderConfig(levels=LEVELS, length=64, splits=8), Continuous(2, 100.0), None).eval()


def test_a_pass_moves_every_split_one_rung_down(small):
    rungs = small.rungs(5)
    assert rungs.shape == (6, 8) and (rungs[:, :4] == 0).all()
    assert rungs[0, -1] == 1 and rungs[-1, 4] == 0
    assert torch.equal(rungs[-1, 1:], rungs[0, :-1])  # each stands where the one before it stood
    assert (rungs.diff(dim=0) <= 0).all() and (rungs.diff(dim=1) >= 0).all()


def test_without_end_a_longer_clip_begins_alike(small):
    options = LadderOptions(steps=16)
    short = small.sample(100, Conditioning(), [1, 2], options)
    long = small.sample(300, Conditioning(), [1, 2], options)
    assert long.shape == (2, 2, 300) and long.isfinite().all()
    assert torch.allclose(long[..., :96], short[..., :96], atol=1e-5)
    assert torch.allclose(small.sample(100, Conditioning(), [2], options)[0], short[1], atol=1e-5)


def test_a_beginning_is_continued_and_kept(small):
    source, keep = torch.randn(1, 2, 200), torch.arange(200)[None] < 83
    made = small.sample(200, Conditioning(), [0], LadderOptions(16), Edit(source, keep))
    assert torch.equal(made[..., :83], source[..., :83]) and not torch.allclose(made[..., 90:], source[..., 90:])
    other = small.sample(200, Conditioning(), [0], LadderOptions(16), Edit(source + 1, keep))
    assert not torch.allclose(made[..., 90:], other[..., 90:])
    with pytest.raises(UserError, match="at least 32 frames"):
        small.sample(200, Conditioning(), [0], LadderOptions(16), Edit(source, torch.arange(200)[None] < 20))


def test_what_does_not_fit_is_refused(small):
    with pytest.raises(UserError, match="even number of splits"):
        NoiseLadder(NoiseLadderConfig(levels=LEVELS, length=63, splits=7), Continuous(2, 100.0), None)
    with pytest.raises(UserError, match="at least as many steps"):
        small.sample(64, Conditioning(), [0], LadderOptions(4))


@pytest.mark.slow
def test_overfit_one_clip():
    """The clip once more and more: what follows its first half is its second."""
    recipe = ladder("nano")
    stage, system = recipe.stages[0], recipe.system.build().eval()
    clip = one_clip(system.codec, stage)
    source, keep = system.codec.encode(clip), torch.arange(clip.shape[-1])[None] < clip.shape[-1] // 2

    def measure():
        made = system.generator.sample(clip.shape[-1], Conditioning(), [0], LadderOptions(32), Edit(source, keep))
        half = clip.shape[-1] // 2
        return distance(made[..., half:], source[..., half:])

    before = measure()
    first, last = train(system, stage, batch_of(clip, 4), 300)
    after = measure()
    print(f"ladder: loss {first:.3f} -> {last:.3f}, distance {before:.2f} -> {after:.3f}")
    assert after < 0.4 < 0.9 < before
