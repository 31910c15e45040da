"""`Listener`: a CLAP in the user's hands. Sound and words become points of one space; near ones belong together."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.conditioners.clap import Clap
from orchestrion.conditioners.text import SPECIAL, TextEncoder
from orchestrion.conditioners.text_clap import PretrainedClap
from orchestrion.contracts import Progress, Prompt
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.corpus.sources import AUDIO
from orchestrion.devices import choose_device
from orchestrion.errors import UserError
from orchestrion.storage import check_writable, replacing
from orchestrion.systems.folder import load_model
from orchestrion.systems.shelf import find_model

LONGEST = 60.0  # seconds of a file that are heard, from its middle


@dataclass(frozen=True)
class Found:
    """nearness: the cosine, 1 at most."""

    name: str
    nearness: float


class Listener:
    """Hears sound and reads words, by the CLAP in a model folder."""

    def __init__(self, clap: Clap | PretrainedClap, name: str, device: str = "auto") -> None:
        self.clap, self.name = clap.to(choose_device(device)).eval(), name

    @classmethod
    def load(cls, name: str | Path, device: str = "auto") -> "Listener":
        """A model folder, `hf:owner/name`, or `laion:NAME` for pretrained weights through transformers. Raises
        `UserError` where the model has no CLAP."""
        text = str(name)
        if text.startswith("laion:"):
            from orchestrion.conditioners.text_clap import PretrainedClapConfig

            return cls(PretrainedClapConfig(weights=text.removeprefix("laion:")).build(), text, device)
        loaded = load_model(find_model(name))
        if not isinstance(loaded.system.conditioner, Clap | PretrainedClap):
            raise UserError(f"{loaded.about.name} has no CLAP, so it can't compare sound with words: give the "
                            "bundled clap, one trained with `orchestrion train clap`, or laion:WEIGHTS")
        return cls(loaded.system.conditioner, loaded.about.name, device)

    @torch.inference_mode()
    def hear(self, audio: Audio) -> Tensor:
        """-> `[e]`, of unit length."""
        if audio.samples.shape[1] == 0:
            raise UserError("there is no sound to hear: the audio has no samples")
        mono = audio.resample(self.clap.sample_rate).to_channels(1)
        return self._point(Prompt(audio=mono.samples))

    @torch.inference_mode()
    def read(self, text: str) -> Tensor:
        """-> `[e]`, of unit length."""
        return self._point(Prompt(text=text))

    def knows(self, text: str) -> bool:
        """Whether it has met any of the words; pretrained ones, which read pieces of words, know all."""
        words = getattr(self.clap, "text", None)
        return not isinstance(words, TextEncoder) or any(word >= len(SPECIAL) for word in words.read(text))

    def hear_files(self, paths: Sequence[Path], progress: Progress | None = None,
                   refused: Callable[[str], None] | None = None) -> dict[Path, Tensor]:
        """-> a point `[e]` for each. refused: told of files that can't be heard, which are left out; without it, or
        where none can be heard, the first of them is an error."""
        points, first = {}, None
        for number, path in enumerate(paths):
            try:
                points[path] = self.hear_file(path)
            except UserError as error:
                if refused is None:
                    raise
                first = first or error
                refused(f"left out: {error}")
            if progress:
                progress((number + 1) / len(paths))
        if first and not points:
            raise first
        return points

    def hear_file(self, path: Path) -> Tensor:
        """-> `[e]`; of a long file its middle."""
        audio = middle(path)
        if audio.samples.shape[1] == 0:
            raise UserError(f"there is no sound to hear in {path}: it has no samples")
        return self.hear(audio)

    def _point(self, prompt: Prompt) -> Tensor:
        vector = self.clap([prompt]).vector
        assert vector is not None
        return torch.nn.functional.normalize(vector[0].float(), dim=0).cpu()


def middle(path: Path, longest: float = LONGEST) -> Audio:
    """A file, or the middle of a long one."""
    from orchestrion.audio.files import info

    spare = info(path).seconds - longest
    return Audio.read(path) if spare <= 0 else Audio.read(path, spare / 2, longest)


def sounds_in(places: Iterable[Path]) -> list[Path]:
    """Audio files, and those in folders at any depth, each once, in order."""
    found: dict[Path, None] = {}
    for place in places:
        if not place.exists():
            raise UserError(f"there is no file or folder {place}")
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        found |= dict.fromkeys(p for p in inside if p.is_file() and (p == place or p.suffix.lower() in AUDIO))
    if not found:
        raise UserError("there is no sound to hear: give audio files, or folders that hold some")
    return list(found)


def asked_for(listener: Listener, query: str) -> Tensor:
    """A query, words or the path of a sound -> `[e]`."""
    path = Path(query)
    meant = path.suffix.lower() in AUDIO or (os.sep in query and os.path.isdir(query))
    if meant or os.path.isfile(query):  # not the path's own methods, which trip over long words
        return listener.hear_file(path)  # which says what is wrong with it
    if not query.strip():
        raise UserError("there is nothing to search for: give words, or a sound to find the like of")
    if not listener.knows(query):
        raise UserError(f"{listener.name} knows none of the words in {query!r}, so nothing is near to them: say it in "
                        "words of the captions that it was trained on")
    return listener.read(query)


def search(query: Tensor, points: Tensor, names: Sequence[str], count: int = 10) -> list[Found]:
    """query `[e]`, points `[n e]` -> the nearest first."""
    nearness = points @ query
    best = nearness.argsort(descending=True)[:count].tolist()
    return [Found(names[i], float(nearness[i])) for i in best]


def write_points(target: Path, names: Sequence[str], points: Tensor, model: str) -> None:
    """points `[n e]` -> a .safetensors file with the tensor `embeddings`, names and model in its header."""
    from safetensors.torch import save_file

    if target.suffix != ".safetensors":
        raise UserError(f"{target}: embeddings are written as .safetensors")
    check_writable(target)
    with replacing(target) as part:
        save_file({"embeddings": points.contiguous()}, part, {"names": json.dumps(list(names)), "model": model})


def label(listener: Listener, corpus: Corpus, captions: Sequence[str], progress: Progress | None = None) -> int:
    """Gives each piece without a caption the nearest of `captions`, in the corpus's manifest; -> how many."""
    captions = list(dict.fromkeys(text.strip() for text in captions if text.strip()))
    if not captions:
        raise UserError("there are no captions to choose from: give a text file with one a line, or a captioned corpus")
    mute = [piece for piece in corpus.pieces if not piece.caption]
    if not mute:
        return 0
    points = torch.stack([listener.read(text) for text in captions])
    named = {}
    for piece, heard in zip(mute, heard_pieces(listener, corpus, mute, progress)):
        named[piece.path] = search(heard, points, captions, 1)[0].name
    manifest = corpus.folder / "manifest.jsonl"
    pieces = [replace(piece, caption=named[piece.path], facts=piece.facts | {"captioned_by": listener.name})
              if piece.path in named else piece for piece in corpus.pieces]
    with replacing(manifest) as part:
        part.write_text("".join(piece.to_json() + "\n" for piece in pieces))
    return len(named)


def heard_pieces(listener: Listener, corpus: Corpus, pieces: Sequence[Piece],
                 progress: Progress | None = None) -> Iterator[Tensor]:
    for number, piece in enumerate(pieces):
        yield listener.hear(middle(corpus.folder / piece.path))
        if progress:
            progress((number + 1) / len(pieces))


def captions_from(place: Path) -> list[str]:
    """The captions of a corpus, or the lines of a text file."""
    if place.is_dir():
        return [piece.caption for piece in Corpus.open(place).pieces if piece.caption]
    if not place.is_file():
        raise UserError(f"there is no text file or corpus {place} to take captions from")
    try:
        return place.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{place} can't be read as text ({error}): give a text file (UTF-8) with a caption a line, or "
                        "a captioned corpus") from error
