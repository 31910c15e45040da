"""The table of embeddings: one file each, one line here. Those that are learnt take an argument after a colon."""

from collections.abc import Callable

from orchestrion.errors import UserError, did_you_mean
from orchestrion.evaluation.embeddings.basic_pitch import BasicPitch
from orchestrion.evaluation.embeddings.embedding import Embedding
from orchestrion.evaluation.embeddings.encodec import Encodec
from orchestrion.evaluation.embeddings.laion_clap import LaionClap
from orchestrion.evaluation.embeddings.log_mel import LogMelStatistics
from orchestrion.evaluation.embeddings.mert import Mert
from orchestrion.evaluation.embeddings.notes import NoteStatistics
from orchestrion.evaluation.embeddings.own_clap import OwnClap
from orchestrion.evaluation.embeddings.vggish import VGGish

PLAIN: dict[str, Callable[[], Embedding]] = {"log-mel": LogMelStatistics, "notes": NoteStatistics}
LEARNT: dict[str, Callable[[str], Embedding]] = {
    "clap": OwnClap,
    "laion-clap": LaionClap,
    "encodec": Encodec,
    "mert": Mert,
    "vggish": VGGish,
    "basic-pitch": BasicPitch,
}

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
