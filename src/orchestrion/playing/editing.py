"""One wish for edited files: checked before the work, made, and written down so that it can be made again."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrion.audio import Audio
from orchestrion.audio.files import Writer, info, output_format
from orchestrion.contracts import Progress, Prompt
from orchestrion.devices import choose_device, choose_dtype
from orchestrion.errors import UserError
from orchestrion.playing.edits import How, brighten, check_capability, continue_audio, inpaint, vary
from orchestrion.playing.model import Model, check_heard, check_seeds
from orchestrion.playing.origin import check_apart, made_from
from orchestrion.playing.provenance import command_line
from orchestrion.playing.request import Made, numbered
from orchestrion.storage import check_writable
from orchestrion.systems.shelf import find_model

DEFAULT_MODEL = "piano"


@dataclass(frozen=True)
class EditRequest:
    """words: the file, perhaps a model's name before it. numbers: what the verb needs, by the names of its own
    arguments. seed None: any. output None: named by file, verb and seed."""

    words: list[str]
    numbers: Mapping[str, float] = field(default_factory=dict)
    seed: int | None = None
    count: int = 1
    output: Path | None = None
    prompt: str | None = None
    negative: str | None = None  # what to lead away from
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class Verb:
    """name: as on the command line. needs: the capability. edit: (model, clip, numbers …, how) -> audio. flags:
    the command line's names of the numbers."""

    name: str
    needs: str
    edit: Callable[..., Audio]
    flags: Mapping[str, str]


CONTINUE = Verb("continue", "continue", continue_audio, {"duration": "d"})
INPAINT = Verb("inpaint", "inpaint", inpaint, {"start": "from", "stop": "to"})
BRIGHTEN = Verb("brighten", "inpaint", brighten, {"above": "above"})
VARY = Verb("vary", "vary", vary, {"strength": "strength"})
TRANSFER = Verb("transfer", "vary", vary, {"strength": "strength"})  # with a prompt: the same, played as the words say


def edit_files(verb: Verb, request: EditRequest, progress: Progress | None = None) -> Made:
    """Loads the model, edits, writes. Whatever can be refused is refused before the model is loaded."""
    device = choose_device(request.device)
    choose_dtype(request.dtype, device)
    name, source = _model_and_file(verb, request.words)
    info(source)
    if request.output is not None:
        output_format(request.output)
        check_writable(request.output)
        check_apart(numbered(request.output, request.count), [source])
    check_seeds(request.seed or 0, request.count)
    find_model(name)
    model = Model.load(name, request.device, request.dtype)
    check_capability(model, verb.needs)
    prompt = Prompt(text=request.prompt, negative=request.negative)
    check_heard(model, prompt)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    output = request.output or Path(f"{source.stem}-{verb.name}-{seed}.wav")
    output_format(output, model.sample_rate, model.channels)
    check_writable(output)
    paths = numbered(output, request.count)
    check_apart(paths, [source])
    clip = Audio.read(source)
    command = _again(verb, request, model, seed, source, output)
    sources = made_from([source])
    within = bool((clip.samples.abs() <= 1.0).all())  # a file of floats beyond full scale is scaled as a whole
    started, total = time.perf_counter(), 0.0
    for index, path in enumerate(paths):
        how = How(seed + index, prompt, request.options, _share(progress, index, request.count))
        made = verb.edit(model, clip, **request.numbers, how=how)
        record = {**(made.provenance or {}), "verb": verb.name, "command": command,
                  "made_from": sources}
        with Writer(path, made.sample_rate, made.channels, record, exact=within) as writer:
            writer.write(made.samples)
        total += made.duration
    spent = time.perf_counter() - started
    return Made(paths, f"{model.name}, seed {seed}: {total:g} s of sound in {spent:.1f} s")


def _model_and_file(verb: Verb, words: list[str]) -> tuple[str, Path]:
    if len(words) > 2:
        raise UserError(f"{verb.name} takes a file, perhaps with a model's name before it, not {len(words)} words")
    return words[0] if len(words) == 2 else DEFAULT_MODEL, Path(words[-1])


def _share(progress: Progress | None, index: int, count: int) -> Progress | None:
    return (lambda done: progress((index + done) / count)) if progress else None


def _again(verb: Verb, request: EditRequest, model: Model, seed: int, source: Path, output: Path) -> str:
    """The command that makes the same files: every choice explicit, model and files by where they are."""
    chosen = {name: value for name, value in request.options.items() if value is not None}
    numbers = {verb.flags[name]: float(value) for name, value in request.numbers.items()}
    options: dict[str, Any] = {**numbers, "p": request.prompt, "negative": request.negative, "seed": seed,
                               "n": request.count if request.count > 1 else None, **chosen,
                               "device": str(model.device), "dtype": str(model.dtype).removeprefix("torch."),
                               "o": str(output)}
    return command_line(verb.name, [model.source, str(source.resolve())], options)
