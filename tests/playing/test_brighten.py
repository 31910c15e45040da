"""Super-resolution: what is lower stays the clip's own, what is higher is made, and both are as loud as they belong."""

import math

import pytest
import torch

from orchestrion.audio import Audio
from orchestrion.cli import main
from orchestrion.contracts import Conditioning, Edit
from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionOptions
from orchestrion.playing.edits import How, crossed
from orchestrion.playing.model import Model
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import find_system

RATE = 44_100


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import orchestrion.systems  # noqa: F401  (fills the table)

    torch.manual_seed(0)
    system = find_system("audio-diffusion").recipe("nano").system.build().eval()
    return save_model(system, tmp_path_factory.mktemp("models") / "mel", About("mel", licence="MIT"))


def tone(frequency, seconds=1.0, rate=RATE):
    return 0.2 * torch.sin(2 * math.pi * frequency * torch.arange(round(seconds * rate)) / rate)[None]


def level(samples, low, high):
    """dB of what lies between two frequencies."""
    power = torch.fft.rfft(samples).abs().square().mean(0)
    place = torch.linspace(0, RATE / 2, len(power))
    return 10 * power[(place >= low) & (place < high)].sum().clamp_min(1e-12).log10().item()


def test_a_crossing_takes_the_low_of_one_and_the_high_of_the_other():
    low, high = tone(440) + tone(9000), tone(440) + 0.5 * tone(12_000)
    made = sum(crossed(low, 0.5 * high, 4000 / RATE))  # a quieter copy is made as loud
    assert made.shape == low.shape
    assert (made - tone(440) - 0.5 * tone(12_000))[:, 4000:-4000].abs().max() < 2e-3
    noise = torch.randn(1, 30_001)
    assert torch.allclose(sum(crossed(noise, noise, 0.1)), noise, atol=1e-4)


def test_bands_are_kept_by_the_generator(folder):
    model = Model.load(folder, dtype="float32")
    source, keep = torch.randn(1, 1, 32, 32), torch.zeros(1, 32, 32, dtype=torch.bool)
    keep[:, :20] = True
    made = model.generator.sample(32, Conditioning(), [1], DiffusionOptions(steps=2), Edit(source, keep))
    assert torch.equal(made[:, :, :20], source[:, :, :20]) and not torch.allclose(made[:, :, 20:], source[:, :, 20:])


def test_the_low_stays_and_the_high_is_made(folder):
    model = Model.load(folder, dtype="float32")
    dull = Audio(tone(500, 1.3, 8000) + 0.5 * tone(1500, 1.3, 8000), 8000)
    made = model.brighten(dull, how=How(seed=1, options={"steps": 2}))
    plain = dull.resample(RATE).samples
    assert made.sample_rate == RATE and made.samples.shape == plain.shape and made.provenance["above"] == 4000
    assert level(made.samples - plain, 0, 3000) < level(plain, 0, 3000) - 40
    assert made.samples.abs().max() < 1
    assert level(made.samples, 5000, 20_000) > level(plain, 5000, 20_000) + 20


def test_what_can_not_be_brightened_is_refused(folder, tmp_path, capsys):
    model = Model.load(folder, dtype="float32")
    for above, said in ((None, "--above"), (22_000.0, "can't begin at"), (1.0, "can't begin at")):
        with pytest.raises(UserError, match=said):
            model.brighten(Audio(tone(500), RATE), above)
    Audio(tone(500, 0.5, 8000), 8000).write(tmp_path / "dull.wav")
    with pytest.raises(SystemExit) as stopped:
        main(["brighten", str(folder), str(tmp_path / "dull.wav"), "--above", "3000", "--steps", "1", "--seed", "1",
              "-o", str(tmp_path / "clear.wav")])
    assert stopped.value.code == 0, capsys.readouterr().err
    assert "--above 3000" in Audio.read(tmp_path / "clear.wav").provenance["command"]
