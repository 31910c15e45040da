"""The best of several takes: a CLAP hears each and says which is nearest to the prompt, as AudioLDM chooses.

The clip that is kept is written down as what it is, a clip of its own seed: it is made again without the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from orchestrion.audio import Audio
from orchestrion.contracts import Progress, Prompt
from orchestrion.errors import UserError
from orchestrion.playing.listening import Listener
from orchestrion.playing.model import Model, check_seeds


class Judge(Protocol):
    """What ranks: a `Listener`, or anything that gives points of unit length `[e]` for sound and words."""

    def hear(self, audio: Audio) -> Any: ...

    def read(self, text: str) -> Any: ...


@dataclass(frozen=True)
class Take:
    """seed: from which it was made. nearness: the cosine to the prompt."""

    seed: int
    nearness: float


def find_judge(model: Model, name: str | None = None) -> Listener:
    """The CLAP named (a model folder, hf:…, laion:…), else the model's own. Raises UserError where there is none."""
    if name is not None:
        return Listener.load(name, str(model.device))
    own = model.system.conditioner
    if not (hasattr(own, "hear") and hasattr(own, "read")):
        raise UserError(f"{model.name} has no CLAP that hears, so it can't rank its takes: name one by --rank-by, such "
                        "as the bundled clap, the folder that `orchestrion train clap` wrote, or "
                        "laion:laion/clap-htsat-unfused")
    return Listener(own, model.name, str(model.device))  # type: ignore[arg-type]


def best_of(model: Model, judge: Judge, prompt: Prompt, duration: float, seeds: Sequence[int],
            options: Any = None, progress: Progress | None = None) -> tuple[Audio, list[Take]]:
    """A take from every seed, the nearest to the prompt's words first, of equal ones the earlier seed; and the sound of
    that one. No more than two are held at once."""
    if not prompt.text or not prompt.text.strip():
        raise UserError("the best of several takes is the nearest to the words of a prompt: give one by -p")
    check_seeds(seeds[0], len(seeds))
    wanted = judge.read(prompt.text)
    takes: list[Take] = []
    best: Audio | None = None
    for number, seed in enumerate(seeds):
        share = (lambda done, number=number: progress((number + done) / len(seeds))) if progress else None
        made = model.generate(prompt, duration, seed, options, share)
        take = Take(seed, float(judge.hear(made) @ wanted))
        if best is None or take.nearness > max(other.nearness for other in takes):
            best = made
        takes.append(take)
    assert best is not None
    return best, sorted(takes, key=lambda take: -take.nearness)


def noted(best: Audio, takes: Sequence[Take], judge: str, command: str) -> Audio:
    """The best take's sound, with what was chosen from in its provenance."""
    record = dict(best.provenance or {}) | {"command": command, "chosen": {
        "of": len(takes), "by": judge, "nearness": round(takes[0].nearness, 4)}}
    return replace(best, provenance=record)
