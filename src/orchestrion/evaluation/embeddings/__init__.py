"""The table of embeddings: one file each, one line here. Those that are learnt take an argument after a colon."""

from collections.abc import Callable

from orchestrion.errors import UserError, did_you_mean
from orchestrion.evaluation.embeddings.embedding import Embedding
from orchestrion.evaluation.embeddings.log_mel import LogMelStatistics
from orchestrion.evaluation.embeddings.notes import NoteStatistics

PLAIN: dict[str, Callable[[], Embedding]] = {"log-mel": LogMelStatistics, "notes": NoteStatistics}
LEARNT: dict[str, Callable[[str], Embedding]] = {}

DEFAULT = ("log-mel", "notes")


def find_embedding(text: str) -> Embedding:
    """`log-mel`, `notes`, or `NAME:WEIGHTS` for a learnt one. Raises `UserError` for what isn't there."""
    name, found, weights = text.partition(":")
    if name in PLAIN and not found:
        return PLAIN[name]()
    if name in LEARNT and weights:
        return LEARNT[name](weights)
    if name in LEARNT:
        raise UserError(f"--embedding {name} needs its weights: write {name}:FOLDER_OR_NAME")
    raise UserError(f"there is no embedding {text!r}; {did_you_mean(name, [*PLAIN, *LEARNT])}")
