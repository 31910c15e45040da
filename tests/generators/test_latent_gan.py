import math

import pytest
import torch

from orchestrion.contracts import Conditioning, Continuous, Discrete, Edit
from orchestrion.errors import UserError
from orchestrion.generators.latent_gan import GanOptions, LatentGanConfig, along, truncated_normal

NANO = LatentGanConfig(base_channels=4, latlen=32, coordinates=6, style=6, multipliers=(6, 4, 2))


@pytest.fixture
def gan():
    torch.manual_seed(0)
    return noisy(NANO.build(Continuous(5, 10.0), None))


def noisy(gan):
    for name, parameter in gan.named_parameters():
        if name.endswith("gain"):
            parameter.data.fill_(0.5)
    return gan


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("latlen, generator, critic", [(256, 15_499_530, 20_786_689), (128, 12_009_738, 16_770_817)])
def test_the_authors_networks_have_as_many_parameters(latlen, generator, critic):
    """Counted by Keras in the authors' code; the checkpoints' sizes tell 15.5M and 20.8M."""
    gan = LatentGanConfig(latlen=latlen).build(Continuous(128, 10.77), None)
    assert (count(gan), count(gan.critic())) == (generator, critic)


def test_a_clip_is_the_same_alone_in_a_batch_and_when_longer(gan):
    both = gan.sample(150, Conditioning(), [3, 4])
    alone = gan.sample(70, Conditioning(), [4])
    assert (both[1:, :, :70] - alone).abs().max() < 1e-4 * alone.abs().max()
    assert (both[0] - both[1]).abs().max() > 0.1


def test_halves_know_nothing_of_each_other(gan):
    """Coordinates changed in the second half leave the first as it was."""
    x = torch.randn(2, 12, 16)
    noise = torch.randn(2, gan.net.noise)
    from orchestrion.generators.latent_gan import Slices

    other = x.clone()
    other[1] = 0
    with torch.no_grad():
        assert torch.allclose(gan.net(x, Slices(noise))[0], gan.net(other, Slices(noise))[0], atol=1e-6)


def test_a_loop_turns_without_end(gan):
    piece = gan.sample(100, Conditioning(), [1], GanOptions(loop=True))
    assert torch.equal(piece[..., :68], piece[..., 32:])
    assert (piece[..., :16] - piece[..., 16:32]).abs().max() > 1e-3


def test_coordinates_are_linear_between_anchors_half_a_step_late():
    anchors = torch.tensor([[[0.0, 6.0, 0.0]]])
    values = along(anchors, torch.arange(12)[None], spacing=6)[0, 0]
    assert torch.allclose(values, torch.tensor([*(i + 0.5 for i in range(6)), *(5.5 - i for i in range(6))]))


def test_training_windows_and_sampled_ones_see_the_same_coordinates(gan):
    """Anchors lie in the middle of a half, in both: every half of a piece begins at latlen/4 + k·latlen/2."""
    steps = gan.latlen // 4 + torch.arange(6 * gan.half_length).view(6, -1)
    inside = [(row % gan.spacing == 0).nonzero().flatten().tolist() for row in steps]
    assert [i for i in inside if i] == [[gan.half_length // 2]] * 2  # of 96 steps, the anchors at 48 and 96


@pytest.mark.parametrize("bound", [0.1, 1.0, 2.0, 3.9])
def test_truncated_normal_has_the_closed_forms_deviation(bound):
    values = truncated_normal((100_000,), bound, torch.Generator().manual_seed(0))
    density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
    expected = math.sqrt(1 - 2 * bound * density / math.erf(bound / math.sqrt(2)))
    assert values.abs().max() <= bound and abs(values.std().item() / expected - 1) < 0.01


def test_variety_bounds_what_is_drawn(gan):
    spread = [gan.sample(32, Conditioning(), list(range(16)), GanOptions(variety=t)).std(0).mean()
              for t in (0.1, 1.0, 3.0)]
    assert spread[0] < spread[1] < spread[2]


def test_conditioning_reaches_every_step_and_the_critic():
    class TwoNumbers(torch.nn.Module):
        fills, width = frozenset({"vector"}), 2

    gan = NANO.build(Continuous(5, 10.0), TwoNumbers())
    loud, soft = (Conditioning(vector=torch.tensor([[v, 1.0]])) for v in (2.0, -2.0))
    a, b = (gan.sample(64, c, [0]) for c in (loud, soft))
    assert ((a - b).abs().amax((0, 1)) > 1e-4).all()
    real = torch.randn(1, 5, 32)
    critic = gan.critic()
    assert critic(real, gan.per_step(loud, 32)) != critic(real, gan.per_step(soft, 32))
    frames = Conditioning(frames=torch.cat([torch.full((1, 2, 32), 2.0), torch.full((1, 2, 32), -2.0)], -1))
    change = gan.sample(64, frames, [0]) - gan.sample(64, Conditioning(frames=torch.full((1, 2, 64), 2.0)), [0])
    assert (change[..., :32] == 0).all() and (change[..., 32:] != 0).any()
    with pytest.raises(UserError, match="got none"):
        gan.sample(32, Conditioning(), [0])


@pytest.mark.parametrize("latlen", [16, 64, 128])
def test_any_depth_and_any_number_of_channels(latlen):
    gan = LatentGanConfig(base_channels=4, latlen=latlen).build(Continuous(3, 10.0), None)
    windows = gan.imagine(2)
    assert windows.shape == (2, 3, latlen) and gan.critic()(windows).shape == (2,)


def test_what_it_cannot_do_is_refused(gan):
    with pytest.raises(UserError, match="models latents"):
        NANO.build(Discrete(4, 1024, 50.0), None)
    with pytest.raises(UserError, match="power of two"):
        LatentGanConfig(latlen=100).build(Continuous(5, 10.0), None)
    with pytest.raises(UserError, match="multipliers"):
        LatentGanConfig(latlen=256, multipliers=(2, 1)).build(Continuous(5, 10.0), None)
    with pytest.raises(UserError, match="can't edit"):
        gan.sample(32, Conditioning(), [0], edit=Edit(torch.zeros(1, 5, 32), torch.ones(1, 32) > 0))
    with pytest.raises(UserError, match="at least one"):
        gan.sample(0, Conditioning(), [0])
    with pytest.raises(UserError, match="variety"):
        GanOptions(variety=0)
