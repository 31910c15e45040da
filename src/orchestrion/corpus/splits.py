"""Which split a piece belongs to: a function of its name alone, the same on every machine."""

import hashlib


def split_of(key: str) -> str:
    """90 % train, 5 % validation, 5 % test. key: `pop909/001`, `maestro/2018/…`, `audio/album/song.wav`."""
    u = place_of(key)
    return "train" if u < 0.90 else "validation" if u < 0.95 else "test"


def place_of(key: str) -> float:
    """A number in [0, 1) drawn from the name."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32
