"""The latents of a frozen codec, made once for a corpus and memory-mapped ever after.

`latents/<codec digest>/<split>.npy` holds the standardised latents of all pieces end to end, `[frames d]`
in float16 (tokens `[frames k]` in whole numbers), `<split>.json` where each piece begins. A cache of other
weights has another folder; one of a corpus that has changed since is made anew.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from orchestrion.contracts import Codec, Discrete, Exact, Progress
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.errors import UserError
from orchestrion.storage import replacing

CHUNK = 30.0  # seconds encoded at once
BATCH = 4  # chunks


@dataclass(frozen=True)
class Latents:
    """All pieces of a split: `frames[starts[i] : starts[i] + counts[i]]` are those of piece i."""

    frames: np.ndarray  # [total d], or [total d f], or tokens [total k]; memory-mapped
    starts: np.ndarray  # [pieces]
    counts: np.ndarray  # [pieces]
    silence: np.ndarray  # [d]: a frame of silence, for padding


def weights_digest(codec: nn.Module) -> str:
    """A short hash of a codec's class and of the weights and buffers that make its latents, all but a `decoder`'s: one
    that is trained further leaves them as they are. The same on every machine."""
    digest = hashlib.sha256(type(codec).__qualname__.encode())
    for name, tensor in sorted(codec.state_dict().items()):
        if "decoder" in name.split("."):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def cached_latents(
    corpus: Corpus, pieces: list[Piece], split: str, codec: Codec, progress: Progress | None = None
) -> Latents:
    """The latents of `pieces`, read from the corpus's cache, or made on the codec's device and kept.

    A kill loses one piece at most. Of several processes one makes them and the others wait.
    Raises UserError where the codec has another rate, or the cache can't be written.
    """
    if corpus.sample_rate != codec.sample_rate:
        raise UserError(
            f"the codec takes {codec.sample_rate} Hz and the corpus at {corpus.folder} has "
            f"{corpus.sample_rate}: prepare another"
        )
    corpus = corpus.in_channels(codec.channels)
    folder = corpus.folder / "latents" / weights_digest(codec)
    counts = np.array([-(-round(piece.seconds * corpus.sample_rate) // codec.frame) for piece in pieces])
    heard = hashlib.sha256("".join(f"{p.path} {p.sha256} {p.seconds}\n" for p in pieces).encode()).hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(folder / f"{split}.lock"):
            if not _is_made(folder, split, heard):
                _make(folder, split, corpus, pieces, counts, codec, heard, progress)
    except OSError as error:
        raise UserError(
            f"the latents can't be kept in {folder} ({error.strerror}): make room or choose a corpus "
            "folder that can be written; the same command goes on where it stopped"
        ) from error
    index = json.loads((folder / f"{split}.json").read_text())
    frames = np.load(folder / f"{split}.npy", mmap_mode="r")
    silence = np.array(index["silence"], dtype=frames.dtype)
    return Latents(frames, np.cumsum(counts) - counts, counts, silence)


def _is_made(folder: Path, split: str, heard: str) -> bool:
    """Whether the latents are there, those of this music and all of them."""
    try:
        index = json.loads((folder / f"{split}.json").read_text())
        np.load(folder / f"{split}.npy", mmap_mode="r")  # refuses a file that was cut
        return bool(index["heard"] == heard and "silence" in index)
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
        return False


def _so_far(part: Path, mark: Path, heard: str) -> dict[str, Any]:
    """How far the file was made by a process that was killed."""
    anew = {"heard": heard, "pieces": 0, "bytes": 0}
    try:
        done = json.loads(mark.read_text())
        whole = done["heard"] == heard and part.stat().st_size >= done["bytes"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return anew
    return done if whole else anew


def _make(
    folder: Path,
    split: str,
    corpus: Corpus,
    pieces: list[Piece],
    counts: np.ndarray,
    codec: Codec,
    heard: str,
    progress: Progress | None,
) -> None:
    silence = rows(encode_whole(codec, np.zeros((codec.channels, codec.sample_rate), np.float32)), codec)
    quiet = silence[len(silence) // 2]
    part, mark = folder / f"{split}.part", folder / f"{split}.part.json"
    done = _so_far(part, mark, heard)
    with part.open("r+b" if done["pieces"] else "wb") as file:
        if not done["pieces"]:
            header = {
                "descr": quiet.dtype.str,
                "fortran_order": False,
                "shape": (int(counts.sum()), *quiet.shape),
            }
            np.lib.format.write_array_header_1_0(file, header)
        file.seek(done["bytes"] if done["pieces"] else file.tell())
        for number in range(done["pieces"], len(pieces)):
            audio = corpus.read(pieces[number])
            found = rows(encode_whole(codec, audio), codec)[: counts[number]]
            if len(found) != counts[number]:
                raise UserError(
                    f"{corpus.folder / pieces[number].path} is not as long as the manifest says: "
                    "prepare the corpus again"
                )
            file.write(found.tobytes())
            file.flush()
            _mark(mark, {"heard": heard, "pieces": number + 1, "bytes": file.tell()})
            if progress:
                progress((number + 1) / len(pieces))
        file.truncate()
    part.replace(folder / f"{split}.npy")
    _mark(
        folder / f"{split}.json",
        {
            "heard": heard,
            "pieces": [p.path for p in pieces],
            "counts": counts.tolist(),
            "silence": quiet.tolist(),
        },
    )
    mark.unlink()


def _mark(path: Path, data: object) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(data))


def rows(latents: Tensor, codec: Codec) -> np.ndarray:
    """latents `[d n]`, `[d f n]` or tokens `[k n]` -> as they are stored, time first."""
    space = codec.space
    kind = np.float16 if not isinstance(space, Discrete) else np.uint16 if space.size <= 1 << 16 else np.int32
    return np.ascontiguousarray(latents.movedim(-1, 0).cpu().numpy().astype(kind))


@torch.no_grad()
def encode_whole(codec: Codec, audio: np.ndarray, chunk: float = CHUNK, batch: int = BATCH) -> Tensor:
    """audio `[c t]` -> latents `[d n]` or tokens `[k n]`, in chunks of about `chunk` seconds.

    Chunks overlap by the codec's context, so that an Exact codec gives what it would give for the whole;
    a Windowed one is taken up to the middle of each overlap. The piece's true ends stay ends.
    """
    unit = codec.multiple_of // codec.frame  # frames
    context = codec.chunking.context if isinstance(codec.chunking, Exact) else -(-codec.chunking.overlap // 2)
    context = -(-context // unit) * unit
    step = max(round(chunk * codec.sample_rate / codec.multiple_of), 1) * unit
    weights = next(codec.parameters(), codec.mean)
    padded = codec.pad(torch.from_numpy(np.ascontiguousarray(audio)))
    total = padded.shape[-1] // codec.frame
    windows = [
        (max(start - context, 0), start, min(start + step, total), min(start + step + context, total))
        for start in range(0, total, step)
    ]
    kept: list[Tensor] = []
    training = codec.training
    codec.eval()
    try:
        for group in alike(windows, batch):
            sound = torch.stack([padded[:, first * codec.frame : last * codec.frame] for first, _, _, last in group])
            found = codec.encode(sound.to(weights.device))
            kept += [
                latents[..., start - first : stop - first] for latents, (first, start, stop, _) in zip(found, group)
            ]
    finally:
        codec.train(training)
    return torch.cat(kept, -1)[..., : -(-audio.shape[-1] // codec.frame)]


def alike(windows: list[tuple[int, int, int, int]], most: int) -> Iterator[list[tuple[int, int, int, int]]]:
    """Runs of windows of one length, at most `most` in each, in order."""
    group: list[tuple[int, int, int, int]] = []
    for window in windows:
        if group and (len(group) == most or window[3] - window[0] != group[0][3] - group[0][0]):
            yield group
            group = []
        group.append(window)
    if group:
        yield group


@contextmanager
def one_at_a_time(path: Path) -> Iterator[IO[str]]:
    """Waits until no other process holds the lock."""
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:  # Windows: two processes would do the same work twice
            pass
        yield file
