"""Words for music: a caption from attributes and metadata, the same every time for one key.

Each caption is a random subset of what is known, in random order, wording and form, so that another key gives another
caption of the same truth (Moûsai, arXiv 2301.11757, shuffles and drops its metadata too).
"""

import hashlib
import random
from bisect import bisect
from collections.abc import Mapping

NOTES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")

# Attribute: (bin edges, the wordings of each bin). A bin without any is too ordinary to be mentioned.
WORDS: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {
    "tempo": (
        (66, 84, 108, 132),
        ("very slow / largo", "slow / slow tempo", "moderate tempo / medium tempo", "fast / quick / fast tempo",
         "very fast / rapid / presto"),
    ),
    "density": (
        (3, 5, 8, 12),
        ("sparse notes / sparse / few notes", "unhurried notes / unhurried", "flowing notes / flowing",
         "busy / many notes", "dense and busy / very busy / dense"),
    ),
    "pitch": (
        (52, 58, 66, 70),
        ("low register / low notes / deep", "rather low", "middle register", "rather high",
         "high register / high notes"),
    ),
    "span": ((18, 36), ("narrow range", "", "wide range")),
    "velocity": (
        (45, 62, 80, 100),
        ("very soft / very quiet", "soft / quiet / gentle", "moderately loud", "loud / strong",
         "very loud / powerful"),
    ),
    "dynamics": ((6, 20), ("even dynamics", "", "contrasting dynamics")),
    "polyphony": ((1.3, 2.2, 4), ("single line / melody alone", "two voices", "chords", "thick chords / rich chords")),
    "articulation": ((0.6, 1.5), ("staccato / short notes", "", "legato / long notes")),
    "pedal": ((0.1, 0.5), ("", "", "much pedal")),
    "brightness": ((900, 1800, 3500), ("dark", "warm", "bright", "very bright")),
    "level": ((-30, -22, -14), ("very quiet", "quiet", "", "loud")),
}
MOODS = {(0, 0): "sad, calm", (0, 1): "dark, driving", (1, 0): "peaceful, warm", (1, 1): "bright, lively"}
TEMPLATES = (
    "{what}, {list}",
    "{list}, {what}",
    "{list} {what}",
    "{what}: {list}",
    "{list}. {What}.",
    "{What}. {List}.",
    "a piece of {what}, {list}",
)
UNCLASSED = 0.5  # share of captions with an instrument that don't say its genre
UNNAMED = 0.1  # share of captions that don't say what plays

# General MIDI programs that people call by other names than the standard does; the first is the usual one.
NAMES = {
    0: "piano / grand piano",
    1: "piano / bright piano",
    3: "honky-tonk piano",
    4: "electric piano",
    5: "electric piano",
    6: "harpsichord",
    9: "glockenspiel / bells",
    10: "music box",
    14: "tubular bells / bells",
    16: "organ / drawbar organ",
    17: "organ / percussive organ",
    19: "organ / church organ",
    24: "guitar / nylon guitar / classical guitar",
    25: "guitar / steel guitar / acoustic guitar",
    26: "jazz guitar / guitar",
    27: "electric guitar / guitar",
    40: "violin",
    42: "cello",
    45: "pizzicato strings",
    46: "harp",
    48: "strings / string ensemble",
    49: "strings / slow strings",
    52: "choir",
    73: "flute",
    108: "kalimba / thumb piano",
}


def caption(key: str, attributes: Mapping[str, float], facts: Mapping[str, str]) -> str:
    """A random subset of what is known, in random order and form, drawn from the key.

    A caption of the user's own (`facts["caption"]`) is kept as it is; of several lines one is drawn. "" where nothing
    is known.
    """
    draw = random.Random(hashlib.sha256(f"caption/{key}".encode()).digest())
    if own := [line.strip() for line in facts.get("caption", "").splitlines() if line.strip()]:
        return draw.choice(own)
    what = subject(attributes, facts, draw)
    phrases = [*traits(attributes, draw), *mentions(facts)]
    chosen = draw.sample(phrases, k=min(len(phrases), draw.randint(1, 6)))
    if not chosen or not what or draw.random() < UNNAMED:
        return ", ".join(chosen) or what
    listed = draw.choice((", ", ", ", " ")).join(chosen)
    return draw.choice(TEMPLATES).format(what=what, What=capital(what), list=listed, List=capital(listed))


def subject(attributes: Mapping[str, float], facts: Mapping[str, str], draw: random.Random) -> str:
    """What is heard: `pop piano`, `jazz vibraphone`; a genre alone gives `jazz music`."""
    player = facts.get("instrument", "")
    if "program" in attributes:
        player = draw.choice(instruments(int(attributes["program"])))
    genre = facts.get("subgenre") or facts.get("genre") or ""
    if player and draw.random() < UNCLASSED:
        genre = ""
    return " ".join(filter(None, (genre.lower(), player or ("music" if genre else ""))))


def traits(attributes: Mapping[str, float], draw: random.Random) -> list[str]:
    """A phrase for each attribute that has something to say; the tempo sometimes as its number."""
    phrases = []
    notes_known = "velocity" in attributes  # then level and brightness would only say it again, less well
    for name in WORDS:
        if notes_known and name in ("level", "brightness"):
            continue
        if name in attributes and (wordings := wordings_of(name, attributes[name])):
            phrases.append(draw.choice(wordings))
    if "tempo" in attributes and draw.random() < 0.3:
        phrases[0] = f"{attributes['tempo']:.0f} bpm"
    if attributes.get("key_clarity", 0.0) >= 0.05:
        mode = "major" if attributes["mode"] else "minor"
        named, plain = f"in {NOTES[int(attributes['key'])]} {mode}", (f"{mode} key", f"in a {mode} key", mode)
        phrases.append(named if draw.random() < 0.5 else draw.choice(plain))
        if {"tempo", "density"} <= attributes.keys():
            lively = attributes["tempo"] >= 100 or attributes["density"] >= 8
            phrases.append(MOODS[int(attributes["mode"]), int(lively)])
    return phrases


def wordings_of(name: str, value: float) -> list[str]:
    """The ways to say that an attribute has this value; none where it is too ordinary."""
    edges, bins = WORDS[name]
    return [wording for wording in bins[bisect(edges, value)].split(" / ") if wording]


def mentions(facts: Mapping[str, str]) -> list[str]:
    """Names that say something of the sound: the composer's, or the artist's."""
    names = (facts.get("composer"), facts.get("artist"))
    return [form.format(name) for form, name in zip(("by {}", "in the style of {}"), names) if name]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def instrument(program: int) -> str:
    """A General MIDI program's name, in words for a prompt."""
    return instruments(program)[0]


def instruments(program: int) -> list[str]:
    """What people call a General MIDI program, the usual name first."""
    if program in NAMES:
        return NAMES[program].split(" / ")
    import pretty_midi

    return [str(pretty_midi.program_to_instrument_name(program)).replace("(", "").replace(")", "").lower()]
