"""Words for music: a caption from a piece's attributes and metadata, the same every time for one piece."""

import hashlib
import random
from bisect import bisect
from collections.abc import Mapping

NOTES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")

# Attribute: (bin edges, a phrase for each bin). An empty phrase is too ordinary to be mentioned.
WORDS: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {
    "tempo": ((66, 84, 108, 132), ("very slow", "slow", "moderate tempo", "fast", "very fast")),
    "density": (
        (3, 5, 8, 12),
        ("sparse notes", "unhurried notes", "flowing notes", "busy", "dense and busy"),
    ),
    "pitch": (
        (52, 58, 66, 70),
        ("low register", "rather low", "middle register", "rather high", "high register"),
    ),
    "span": ((18, 36), ("narrow range", "", "wide range")),
    "velocity": ((45, 62, 80, 100), ("very soft", "soft", "moderately loud", "loud", "very loud")),
    "dynamics": ((6, 20), ("even dynamics", "", "contrasting dynamics")),
    "polyphony": ((1.3, 2.2, 4), ("single line", "two voices", "chords", "thick chords")),
    "articulation": ((0.6, 1.5), ("staccato", "", "legato")),
    "pedal": ((0.1, 0.5), ("", "", "much pedal")),
    "brightness": ((900, 1800, 3500), ("dark", "warm", "bright", "very bright")),
    "level": ((-30, -22, -14), ("very quiet", "quiet", "", "loud")),
}
MOODS = {(0, 0): "sad, calm", (0, 1): "dark, driving", (1, 0): "peaceful, warm", (1, 1): "bright, lively"}
TEMPLATES = (
    "{what}, {list}",
    "{list}, {what}",
    "{what}: {list}",
    "{list}. {What}.",
    "{What}. {List}.",
    "a piece of {what}, {list}",
)


def caption(key: str, attributes: Mapping[str, float], facts: Mapping[str, str]) -> str:
    """A random subset of what is known, in random order and form, drawn from the piece's key.

    A caption of the user's own (`facts["caption"]`) is kept as it is. "" where nothing is known.
    """
    if facts.get("caption"):
        return facts["caption"]
    draw = random.Random(hashlib.sha256(f"caption/{key}".encode()).digest())
    what = subject(attributes, facts)
    phrases = [*traits(attributes, draw), *mentions(facts)]
    chosen = draw.sample(phrases, k=min(len(phrases), draw.randint(2, 6)))
    if not chosen or not what:
        return what or ", ".join(chosen)
    listed = ", ".join(chosen)
    return draw.choice(TEMPLATES).format(what=what, What=capital(what), list=listed, List=capital(listed))


def subject(attributes: Mapping[str, float], facts: Mapping[str, str]) -> str:
    """What is heard: `pop piano`, `jazz vibraphone`; a genre alone gives `jazz music`."""
    player = instrument(int(attributes["program"])) if "program" in attributes else facts.get("instrument", "")
    genre = facts.get("subgenre") or facts.get("genre") or ""
    return " ".join(filter(None, (genre.lower(), player or ("music" if genre else ""))))


def traits(attributes: Mapping[str, float], draw: random.Random) -> list[str]:
    """A phrase for each attribute that has something to say; the tempo sometimes as its number."""
    phrases = []
    notes_known = "velocity" in attributes  # then level and brightness would only say it again, less well
    for name, (edges, words) in WORDS.items():
        if notes_known and name in ("level", "brightness"):
            continue
        if name in attributes and (word := words[bisect(edges, attributes[name])]):
            phrases.append(word)
    if "tempo" in attributes and draw.random() < 0.3:
        phrases[0] = f"{attributes['tempo']:.0f} bpm"
    if attributes.get("key_clarity", 0.0) >= 0.05:
        mode = "major" if attributes["mode"] else "minor"
        phrases.append(f"in {NOTES[int(attributes['key'])]} {mode}" if draw.random() < 0.7 else f"{mode} key")
        if {"tempo", "density"} <= attributes.keys():
            lively = attributes["tempo"] >= 100 or attributes["density"] >= 8
            phrases.append(MOODS[int(attributes["mode"]), int(lively)])
    return phrases


def mentions(facts: Mapping[str, str]) -> list[str]:
    """Names that say something of the sound: the composer's, or the artist's."""
    names = (facts.get("composer"), facts.get("artist"))
    return [form.format(name) for form, name in zip(("by {}", "in the style of {}"), names) if name]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def instrument(program: int) -> str:
    """A General MIDI program's name, in words for a prompt."""
    if program == 0:
        return "piano"
    import pretty_midi

    return str(pretty_midi.program_to_instrument_name(program)).replace("(", "").replace(")", "").lower()
