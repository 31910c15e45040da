"""Music for tests without a synthesizer: struck strings, decaying partials of a few notes."""

import json
from pathlib import Path

import numpy as np
import soundfile as sf

SCALE = (48, 52, 55, 60, 64, 67, 72, 76)  # MIDI notes


def pluck_tune(seconds: float, sample_rate: int = 44_100, seed: int = 0, notes_per_second: float = 4.0) -> np.ndarray:
    """-> float32 `[2 t]`, notes of SCALE one after another, peak 0.5."""
    rng = np.random.default_rng(seed)
    count = int(seconds * sample_rate)
    tune = np.zeros((2, count + sample_rate))
    time = np.arange(sample_rate) / sample_rate
    for start in np.arange(0, seconds, 1 / notes_per_second):
        pitch = 440 * 2 ** ((rng.choice(SCALE) - 69) / 12)
        note = sum(np.exp(-3 * k * time) / k * np.sin(2 * np.pi * k * pitch * time) for k in range(1, 6))
        left = rng.uniform(0.3, 0.7)
        first = int(start * sample_rate)
        tune[:, first : first + sample_rate] += np.outer((left, 1 - left), note)
    tune = tune[:, :count]
    return (0.5 * tune / np.abs(tune).max()).astype(np.float32)


def pluck_corpus(folder: Path, pieces: int = 3, seconds: float = 4.0, sample_rate: int = 44_100,
                 channels: int = 2) -> Path:
    """A finished corpus of `pieces` tunes, the last of them for validation."""
    (folder / "audio").mkdir(parents=True)
    facts = {"name": "plucks", "licence": "CC0-1.0", "sample_rate": sample_rate, "channels": channels,
             "hours": pieces * seconds / 3600, "made": "tests/plucks.py"}
    (folder / "corpus.json").write_text(json.dumps(facts))
    with (folder / "manifest.jsonl").open("w") as manifest:
        for i in range(pieces):
            path = f"audio/{i}.flac"
            sf.write(folder / path, pluck_tune(seconds, sample_rate, i)[:channels].T, sample_rate)
            split = "validation" if i == pieces - 1 else "train"
            piece = {"path": path, "seconds": seconds, "split": split, "attributes": {"tempo": 240.0},
                     "caption": "plucked strings", "source": "plucks", "licence": "CC0-1.0", "sha256": str(i)}
            manifest.write(json.dumps(piece) + "\n")
    return folder
