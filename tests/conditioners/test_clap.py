"""CLAP from scratch: what both towers keep, how long clips are heard, and that it learns to find."""

import pytest
import torch

from orchestrion.conditioners.clap import ClapConfig, HearingConfig
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.contracts import Batch, Prompt
from orchestrion.errors import UserError
from orchestrion.evaluation.retrieval import distinct, recall
from orchestrion.objectives.contrastive import ContrastiveConfig, contrast

RATE = 8000
SMALL = ClapConfig(width=16, sample_rate=RATE, text=TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64),
                   hearing=HearingConfig(width=32, depth=1, heads=2, bands=32, n_fft=512, hop=256, patch=(8, 4),
                                         window=0.5))
PITCHES = {"low": 150.0, "middle": 450.0, "high": 1350.0}
TIMBRES = ("flute", "organ", "bell")


def clap():
    torch.manual_seed(0)
    made = SMALL.build().eval()
    made.fit([Prompt(text=text) for text in captions()])
    return made


def captions():
    return [f"{pitch} {timbre}" for pitch in PITCHES for timbre in TIMBRES]


def sound(text, generator, seconds=0.5):
    """A tone of that pitch within a semitone, with that timbre's overtones; bells ring off."""
    pitch, timbre = text.split()
    hertz = PITCHES[pitch] * 2 ** ((torch.rand(1, generator=generator).item() - 0.5) / 6)
    time = torch.arange(int(RATE * seconds)) / RATE
    partials = range(1, 6 if timbre == "organ" else 2)
    tone = sum((torch.sin(6.2832 * k * hertz * time) for k in partials if k * hertz < RATE / 2), torch.zeros(()))
    if timbre == "bell":
        tone = tone * torch.exp(-20 * (time % 0.125))
    noise = 0.01 * torch.randn(tone.shape, generator=generator)
    return (0.3 * tone + noise)[None]


def test_vectors_have_unit_length_and_a_row_is_the_same_alone():
    made, generator = clap(), torch.Generator().manual_seed(0)
    audio = torch.stack([sound(text, generator) for text in captions()[:3]])
    with torch.no_grad():
        batch = made.hear(audio)
        assert torch.allclose(batch[2], made.hear(audio[2:])[0], atol=1e-5)
        both = made([Prompt(audio=audio[0]), Prompt(text="low flute"), Prompt(), Prompt(text=" ")]).vector
    assert torch.allclose(both.norm(dim=1), torch.ones(4), atol=1e-5)
    assert torch.allclose(both[0], batch[0], atol=1e-5) and torch.allclose(both[2], both[3], atol=1e-5)


def test_a_prompt_with_both_is_taken_by_preference():
    made = clap()
    audio = sound("low bell", torch.Generator().manual_seed(1))
    with torch.no_grad():
        words = made([Prompt(text="high organ", audio=audio)]).vector
        assert torch.allclose(words, made([Prompt(text="high organ")]).vector, atol=1e-5)
        made.config = ClapConfig(prefer="audio")
        assert torch.allclose(made([Prompt(text="high organ", audio=audio)]).vector, made.hear(audio[None]), atol=1e-5)


def test_long_clips_are_heard_whole_and_in_three_crops():
    hearing = clap().hearing
    whole, crops = hearing.look(torch.randn(2, 4 * hearing.samples))
    assert whole.shape == (2, 32, hearing.frames) and crops.shape == (2, 32, 3 * hearing.frames)
    exact, none = hearing.look(torch.randn(2, hearing.samples))
    assert exact.shape == whole.shape and none is None


def test_every_third_of_a_long_clip_is_heard():
    made = clap()
    quiet = torch.zeros(1, 1, 12 * made.hearing.samples)
    with torch.no_grad():
        before = made.hear(quiet)
        for third in range(3):
            loud = quiet.clone()
            start = third * 4 * made.hearing.samples
            loud[..., start : start + 4 * made.hearing.samples] = 0.5 * torch.randn(4 * made.hearing.samples)
            assert not torch.allclose(made.hear(loud), before, atol=1e-3)


def test_a_short_clip_is_repeated():
    made = clap()
    half = torch.randn(1, 1, made.hearing.samples // 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(made.hear(half), made.hear(half.repeat(1, 1, 2)), atol=1e-5)
        assert made.hear(half[..., :1]).isfinite().all()


def test_patches_must_tile_the_bands():
    with pytest.raises(UserError, match="patches 10 bands high"):
        ClapConfig(hearing=HearingConfig(bands=64, patch=(10, 4))).build()


def test_the_loss_of_ignorance_is_log_n_and_that_of_certainty_zero():
    eye = torch.eye(8, dtype=torch.bool)
    assert contrast(torch.zeros(8, 8), eye).item() == pytest.approx(torch.tensor(8.0).log().item(), rel=1e-5)
    assert contrast(100 * torch.eye(8), eye).item() == pytest.approx(0, abs=1e-4)
    twins = torch.block_diag(*[torch.ones(2, 2)] * 4).bool()  # shared captions: nothing tells them apart
    assert contrast(100 * twins.float(), twins).item() == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-4)


def test_recall_counts_ties_against_and_chance_is_k_of_n():
    points = torch.nn.functional.normalize(torch.randn(400, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert recall(points, points) == {1: 1.0, 5: 1.0, 10: 1.0}
    assert recall(points, torch.ones_like(points)) == {1: 0.0, 5: 0.0, 10: 0.0}  # one answer to everything
    assert recall(points, points.flip(0))[10] == pytest.approx(10 / 400, abs=0.03)
    assert recall(points[:3], points[:3]) == {1: 1.0}  # 5 of 3 would say nothing
    assert distinct(["A", "b", "a ", "c", "B"]) == [0, 1, 3]


def test_it_learns_to_find_sounds_by_words():
    """Of nine kinds of sound, unseen ones are found by their captions; untrained, hardly."""
    made = clap()
    objective = ContrastiveConfig(shortened=0.3).build(type("Parts", (), {"conditioner": made})())
    optimiser = torch.optim.AdamW(objective.groups()["conditioner"], lr=1e-3)
    generator = torch.Generator().manual_seed(5)
    torch.manual_seed(0)

    def found():
        made.eval()
        held = torch.Generator().manual_seed(99)
        with torch.no_grad():
            sounds = made.hear(torch.stack([sound(text, held) for text in captions()]))
            return recall(made.read([Prompt(text=text) for text in captions()]), sounds)[1]

    before = found()
    made.train()
    for step in range(100):
        batch = Batch(audio=torch.stack([sound(text, generator) for text in captions()]),
                      prompts=[Prompt(text=text) for text in captions()])
        for _, terms in objective.losses(batch, step):
            optimiser.zero_grad()
            terms["contrast"].backward()
            optimiser.step()
    assert before < 0.4 and found() > 0.85
    assert objective.health() is None


def test_a_collapsed_space_is_told():
    objective = ContrastiveConfig().build(type("Parts", (), {"conditioner": clap()})())
    for _ in range(100):
        objective.likeness += 0.05 * (1 - objective.likeness)
    assert "same place" in objective.health()


def test_it_wants_two_towers():
    with pytest.raises(UserError, match="hears and reads"):
        ContrastiveConfig().build(type("Parts", (), {"conditioner": SMALL.text.build()})())
