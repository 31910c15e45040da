import math

import pytest
import torch

from orchestrion.nn.discriminators import BandCritic, Critics, feature_distance
from orchestrion.objectives.rave import RaveCriticsConfig


def test_each_band_hears_its_own_part_of_the_spectrum():
    """A tone at 0.6 of the highest frequency reaches the fourth of the bands, and the score."""
    torch.manual_seed(0)
    critic = BandCritic(1, width=4, windows=(256,))
    tone = torch.cos(0.6 * math.pi * torch.arange(4096))[None, None]
    tone = tone * torch.hann_window(4096)  # no clicks, which are in all bands
    (silent,), (heard,) = critic(torch.zeros_like(tone)), critic(tone)
    assert len(heard) == 5 * 5 + 1
    changed = [(a - b).abs().max().item() for a, b in zip(silent, heard)]
    bands = [max(changed[i : i + 5]) for i in range(0, 25, 5)]
    assert bands[3] > 0.1 and changed[-1] > 0 and max(bands[:3] + bands[4:]) < 1e-2 * bands[3]


def test_descripts_critics_do_not_hear_loudness():
    torch.manual_seed(0)
    critics = RaveCriticsConfig(width=2, periods=(2, 3), band_windows=(256, 128)).critics(2)
    audio = torch.randn(2, 2, 3000)
    found, louder = critics(audio), critics(3 * audio + 0.1)
    assert len(found) == 4
    for a, b in zip(found, louder):
        for x, y in zip(a, b):
            assert torch.allclose(x, y, atol=1e-4)
    assert not torch.allclose(Critics(critics.critics[0])(audio)[0][-1], found[0][-1])
    assert feature_distance(found, louder, relative=True).item() == pytest.approx(0, abs=1e-4)
