"""Sounds that are no music, with captions: what fine-tuning on another kind of audio is tried on.

    python benchmarks/everyday.py FOLDER [--minutes 10] [--seconds 12] [--seed 0]

Synthesised: rain, wind, waves, a fire, a clock, footsteps, an engine, a siren, a telephone, an alarm, a bird and water,
in turn, each drawn anew. `orchestrion prepare FOLDER -o CORPUS --channels 1` makes a corpus of them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import duration, run

from orchestrion.audio import Audio

RATE = 44_100
Draw = np.random.Generator
Sound = tuple[np.ndarray, str]
"""Samples of about unit deviation `[t]`, and what is heard."""


def band(draw: Draw, count: int, low: float, high: float, tilt: float = 0.0) -> np.ndarray:
    """Noise between two frequencies, Hz; tilt: its power falls with that power of the frequency."""
    spectrum = np.fft.rfft(draw.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    gain = np.where((hertz > low) & (hertz < high), np.maximum(hertz, low) ** (-tilt / 2), 0.0)
    made = np.fft.irfft(spectrum * gain, count)
    return made / made.std()


def slow(draw: Draw, count: int, rate: float) -> np.ndarray:
    """A random curve between 0 and 1 that turns about `rate` times a second."""
    points = draw.uniform(0, 1, int(count / RATE * rate) + 3)
    return np.interp(np.linspace(0, len(points) - 1, count), np.arange(len(points)), points)


def strikes(draw: Draw, count: int, times: np.ndarray, low: float, high: float, decay: float) -> np.ndarray:
    """Short noises at these seconds, between two frequencies, each ringing off in `decay` seconds."""
    made, length = np.zeros(count + RATE), int(6 * decay * RATE)
    for time in times:
        start = int(time * RATE)
        made[start : start + length] += (draw.uniform(0.5, 1) * band(draw, length, low, high)
                                         * np.exp(-np.arange(length) / decay / RATE))
    return made[:count]


def tone(hertz: np.ndarray, partials: int) -> np.ndarray:
    """A tone of changing pitch `[t]`, its overtones falling as 1/k."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return sum((np.sin(k * phase) / k for k in range(1, partials + 1)), np.zeros(len(hertz)))


def rain(draw: Draw, count: int) -> Sound:
    heavy = draw.random() < 0.5
    times = draw.uniform(0, count / RATE, int(count / RATE * (60 if heavy else 15)))
    made = (0.6 if heavy else 0.15) * band(draw, count, 400, 14_000, 0.7)
    return made + strikes(draw, count, times, 2000, 9000, 3e-3), "heavy rain" if heavy else "light rain"


def wind(draw: Draw, count: int) -> Sound:
    howling = draw.random() < 0.5
    low, high = (300, 900) if howling else (60, 400)
    made = band(draw, count, low, high, 1.0) * (0.2 + slow(draw, count, 0.5))
    return made, "howling wind" if howling else "soft wind"


def waves(draw: Draw, count: int) -> Sound:
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * np.arange(count) / RATE / draw.uniform(4, 7) + draw.uniform(0, 6))
    return band(draw, count, 80, 6000, 1.2) * (0.1 + swell**2), "waves on the beach"


def fire(draw: Draw, count: int) -> Sound:
    cracks = strikes(draw, count, draw.uniform(0, count / RATE, int(count / RATE * 9)), 1200, 12_000, 4e-3)
    return cracks + 0.15 * band(draw, count, 50, 600, 1.0), "a crackling fire"


def clock(draw: Draw, count: int) -> Sound:
    fast = draw.random() < 0.5
    times = np.arange(draw.uniform(0, 0.3), count / RATE, 0.25 if fast else 1.0)
    return strikes(draw, count, times, 2500, 5000, 6e-3), f"a clock ticking {'fast' if fast else 'slowly'}"


def footsteps(draw: Draw, count: int) -> Sound:
    running = draw.random() < 0.5
    times = np.arange(0.1, count / RATE, 0.32 if running else 0.6)
    steps = strikes(draw, count, times + draw.uniform(0, 0.03, len(times)), 80, 1500, 0.03)
    return steps, f"footsteps, {'running' if running else 'walking'}"


def engine(draw: Draw, count: int) -> Sound:
    high = draw.random() < 0.5
    hertz = (90 if high else 35) * (1 + 0.15 * slow(draw, count, 1.0))
    return tone(hertz, 14) + 0.3 * band(draw, count, 100, 3000, 1.0), f"{'a roaring' if high else 'an idling'} engine"


def siren(draw: Draw, count: int) -> Sound:
    turn = np.sin(2 * np.pi * np.arange(count) / RATE / draw.uniform(1.5, 4))
    return tone(700 * 2 ** (0.6 * turn), 6), "a wailing siren"


def telephone(draw: Draw, count: int) -> Sound:
    time = np.arange(count) / RATE + draw.uniform(0, 3)
    ringing = (time % 3 < 1.2) * (0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 20 * time)))
    return (np.sin(2 * np.pi * 1050 * time) + np.sin(2 * np.pi * 1330 * time)) * ringing, "a telephone ringing"


def alarm(draw: Draw, count: int) -> Sound:
    time = np.arange(count) / RATE
    return tone(np.full(count, draw.uniform(1800, 2400)), 3) * (time % 0.5 < 0.25), "an alarm beeping"


def bird(draw: Draw, count: int) -> Sound:
    made = np.zeros(count + RATE)
    for start in np.cumsum(draw.uniform(0.15, 0.7, int(count / RATE * 2))):
        if (place := int(start * RATE)) < count:
            length = int(draw.uniform(0.05, 0.15) * RATE)
            sweep = np.geomspace(draw.uniform(2500, 4500), draw.uniform(3000, 6500), length)
            made[place : place + length] += tone(sweep, 2) * np.hanning(length)
    return made[:count], "a bird singing"


def water(draw: Draw, count: int) -> Sound:
    made = np.zeros(count + RATE)
    for place in draw.integers(0, count, int(count / RATE * 25)):
        length = int(draw.uniform(0.02, 0.08) * RATE)
        made[place : place + length] += (tone(np.geomspace(f := draw.uniform(300, 1200), 1.6 * f, length), 1)
                                         * np.hanning(length))
    return made[:count], "bubbling water"


KINDS: tuple[Callable[[Draw, int], Sound], ...] = (rain, wind, waves, fire, clock, footsteps, engine, siren, telephone,
                                                   alarm, bird, water)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=duration, default=10.0)
    parser.add_argument("--seconds", type=duration, default=12.0, help="of each sound")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    count = max(round(60 * args.minutes / args.seconds), 1)
    for number in range(count):
        draw = np.random.default_rng((args.seed, number))
        made, said = KINDS[number % len(KINDS)](draw, round(args.seconds * RATE))
        made = 0.05 * draw.uniform(0.7, 1.4) * made / made.std()
        place = args.folder / f"{args.seed}-{number:04d}.flac"
        Audio(torch.from_numpy(made.clip(-0.98, 0.98).astype(np.float32))[None], RATE).write(place)
        place.with_suffix(".txt").write_text(said + "\n")
    print(f"{args.folder}: {count} sounds of {args.seconds:g} s")


if __name__ == "__main__":
    run(main)
