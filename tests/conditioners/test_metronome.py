import math
from statistics import fmean, pstdev

import pytest
import torch

from orchestrion.codecs.waveform import WaveformConfig
from orchestrion.conditioners.metronome import LOUD, MetronomeConfig
from orchestrion.contracts import Batch, Conditioning, Continuous, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig, FlowOptions
from orchestrion.objectives.flow_matching import FlowMatchingConfig
from orchestrion.systems.system import SystemConfig
from orchestrion.tempo import tempo_of

RATE = 20.0


def metronome(*tempos: float):
    made = MetronomeConfig(rate=RATE).build()
    made.fit(Prompt(beats=[60 / tempo * i for i in range(8)]) for tempo in tempos)
    return made


def test_frames_turn_once_from_beat_to_beat_at_any_pace():
    frames = metronome(60)([Prompt(beats=[0.0, 0.5, 1.5, 2.0])]).frames
    assert frames.shape == (1, 7, 40)
    now = (torch.arange(40) + 0.5) / RATE
    turn = torch.where(now < 0.5, now / 0.5, torch.where(now < 1.5, now - 0.5, (now - 1.5) / 0.5)) * 2 * math.pi
    parts = [f(part * turn) for part in (1, 2, 4) for f in (torch.cos, torch.sin)]
    assert torch.allclose(frames[0] / LOUD, torch.stack([torch.ones(40), *parts]), atol=1e-5)


def test_nothing_is_said_where_no_beat_is_known():
    frames = metronome(60)([Prompt(), Prompt(beats=[1.0, 2.0])]).frames
    assert frames[0].abs().sum() == 0 and frames[1, :, :20].abs().sum() == 0 and frames[1, 0, 20:].min() == LOUD


def test_a_tempo_that_is_asked_for_is_kept():
    prompt = metronome(60, 90).complete(Prompt(attributes={"tempo": 90.0}), 10.0, seed=3)
    assert tempo_of(prompt.beats) == pytest.approx(90)
    assert prompt.beats[0] <= 0 and prompt.beats[-1] >= 10


def test_tempos_are_drawn_from_the_corpus_law_and_by_the_seed():
    tempos = (60.0, 80.0, 120.0)
    drawn = [math.log(tempo_of(metronome(*tempos).complete(Prompt(), 10.0, seed).beats)) for seed in range(400)]
    known = [math.log(tempo) for tempo in tempos]
    assert fmean(drawn) == pytest.approx(fmean(known), abs=0.05)
    assert pstdev(drawn) == pytest.approx(pstdev(known), rel=0.1)
    again = metronome(*tempos)
    assert again.complete(Prompt(), 10.0, 5) == again.complete(Prompt(), 10.0, 5) != again.complete(Prompt(), 10.0, 6)


def test_a_corpus_without_beats_leaves_it_silent():
    silent = MetronomeConfig().build()
    silent.fit([Prompt(), Prompt(text="rain")])
    assert silent.complete(Prompt(), 10.0, 0) == Prompt()
    with pytest.raises(UserError, match="keeps to no tempo"):
        silent.complete(Prompt(attributes={"tempo": 90.0}), 10.0, 0)


@pytest.mark.parametrize("tempo", [0.0, -60.0, 1e6, math.nan])
def test_an_impossible_tempo_is_one_sentence(tempo):
    with pytest.raises(UserError, match="from 20 to 400"):
        metronome(60).complete(Prompt(attributes={"tempo": tempo}), 10.0, 0)


def flow(conditioner):
    torch.manual_seed(0)
    config = FlowConfig(net=DiTConfig(width=32, depth=1, heads=2), context=32, overlap=8)
    made = config.build(Continuous(4, RATE), conditioner)
    torch.nn.init.normal_(made.net.leave.weight)
    return made.eval()


def test_an_untrained_beat_changes_nothing_and_a_trained_one_what_lies_under_it():
    teller = metronome(60)
    generator, plain = flow(teller), flow(None)
    missing, unexpected = generator.load_state_dict(plain.state_dict(), strict=False)
    assert missing == ["net.frames.weight"] and not unexpected
    beats = teller.guided([teller.complete(Prompt(), 3.0, 0)])
    alone = generator.sample(60, beats, [0], FlowOptions(cfg_scale=1.0))
    assert torch.equal(alone, plain.sample(60, Conditioning(), [0]))
    torch.nn.init.normal_(generator.net.frames.weight)
    assert not torch.allclose(generator.sample(60, beats, [0]), generator.sample(60, Conditioning(), [0]), atol=1e-2)


def test_every_window_of_a_long_piece_hears_its_own_stretch_of_the_beat():
    said = Conditioning(frames=torch.arange(50.0).expand(1, 3, 50), against=Conditioning(frames=torch.zeros(1, 3, 10)))
    part = said.at(torch.arange(40, 60))
    assert part.frames[0, 0].tolist() == [*range(40, 50), *[0] * 10]
    assert part.against.frames.shape == (1, 3, 20)


def test_training_moves_the_beat_to_where_the_notes_are():
    """Latents that are a click on every beat, the beats anywhere: with the beat told, the velocity is learned that
    without it can't be known at the noisiest times."""
    def error(told: bool) -> float:
        torch.manual_seed(1)
        config = SystemConfig(codec=WaveformConfig(sample_rate=20), conditioner=MetronomeConfig(rate=RATE),
                              generator=FlowConfig(net=DiTConfig(width=64, depth=2, heads=2), context=32, overlap=8))
        system = config.build()
        objective = FlowMatchingConfig(beginnings=0, spans=0, dropped=0, shift=4.0).build(system)
        stepper = torch.optim.AdamW(system.generator.parameters(), 3e-3)
        rng, losses = torch.Generator().manual_seed(2), []
        for step in range(150):
            firsts = torch.rand(16, generator=rng) * 0.5
            beats = [[first - 0.5 + 0.5 * i for i in range(7)] for first in firsts.tolist()]
            turn = ((torch.arange(32) + 0.5) / RATE - firsts[:, None]) / 0.5
            clicks = 3 * (2 * math.pi * turn).cos()[:, None]
            batch = Batch(latents=clicks, prompts=[Prompt(beats=b) if told else Prompt() for b in beats])
            (_, terms), = objective.losses(batch, step)
            stepper.zero_grad()
            terms["velocity"].backward()
            stepper.step()
            losses.append(terms["velocity"].item())
        return fmean(losses[-30:])

    assert error(told=True) < 0.5 * error(told=False)


@pytest.mark.parametrize("seconds", [0.3, 2.0, 7.77])
def test_a_loop_has_a_whole_number_of_beats_at_the_nearest_tempo(seconds):
    beats = metronome(60, 90).complete(Prompt(attributes={"tempo": 90.0}), seconds, 3, loop=True).beats
    count = seconds / (beats[1] - beats[0])
    assert count == pytest.approx(round(count)) == max(1, round(1.5 * seconds))
    assert beats[-1] >= seconds
