"""One wish for files of new sound: checked before the work, made, and written down so that it can be
made again."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.audio.files import info, output_format
from orchestrion.contracts import GeneratorConfig, Progress, Prompt
from orchestrion.devices import choose_device, choose_dtype
from orchestrion.errors import UserError
from orchestrion.playing.model import Model, check_duration, check_heard, check_seeds
from orchestrion.playing.origin import check_apart
from orchestrion.playing.provenance import command_line
from orchestrion.storage import check_writable
from orchestrion.systems.folder import read_system_config
from orchestrion.systems.shelf import aliases, bundled_models, default_model, find_model
from orchestrion.systems.system import SYSTEMS


@dataclass(frozen=True)
class Request:
    """model None: the bundled one, that takes prompts where there is one. seed None: any. output None: named by
    model and seed. options: by the generator's own names, None where the model is to choose."""

    model: str | None = None
    duration: float = 20.0  # seconds
    seed: int | None = None
    count: int = 1
    output: Path | None = None
    prompt: str | None = None
    negative: str | None = None  # what to lead away from
    attributes: Mapping[str, float] = field(default_factory=dict)
    like: Path | None = None  # a sound to make something like
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    loop: bool = False  # the end runs into the beginning
    best_of: int = 1  # takes of each clip, of which the one nearest to the prompt is kept
    rank_by: str | None = None  # a CLAP that judges them; None: the model's own


@dataclass(frozen=True)
class Made:
    paths: list[Path]
    summary: str


def make_files(request: Request, progress: Progress | None = None) -> Made:
    """Loads the model, generates, writes. Whatever can be refused is refused before the model is loaded."""
    check_duration(request.duration)
    check_seeds(request.seed or 0, request.count * request.best_of)
    if request.rank_by is not None and request.best_of < 2:
        raise UserError("--rank-by says who judges several takes: ask for some by --best-of")
    device = choose_device(request.device)
    choose_dtype(request.dtype, device)
    if request.output is not None:
        output_format(request.output)
        check_writable(request.output)
    if request.like is not None:
        if request.prompt:
            raise UserError("a clip is steered by the words of -p or by the sound of --like, not by both: leave one "
                            "out")
        info(request.like)
        if request.output is not None:
            check_apart(numbered(request.output, request.count), [request.like])
    prompted = request.prompt is not None or bool(request.negative or request.attributes or request.like)
    name = request.model or (looping_model(prompted) if request.loop else default_model(prompted))
    find_model(name)
    started = time.perf_counter()
    model = Model.load(name, request.device, request.dtype)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    output = request.output or Path(f"{model.name}-{seed}.wav")
    output_format(output, model.sample_rate, model.channels)
    check_writable(output)
    paths = numbered(output, request.count)
    loaded = time.perf_counter()
    prompt = Prompt(text=request.prompt, negative=request.negative, attributes=request.attributes,
                    audio=heard(model, request.like) if request.like else None)
    check_heard(model, prompt)
    if request.best_of > 1:
        return _write_best(model, request, prompt, seed, paths, progress)
    model.write_batch(paths, [prompt] * request.count, request.duration, range(seed, seed + request.count),
                      request.options, progress, again(request, model, seed, output), request.loop)
    spent = time.perf_counter() - loaded
    total = request.duration * request.count
    speed = total / spent
    return Made(paths, f"{model.name}, seed {seed}: {total:g} s of sound in {spent:.1f} s "
                       f"({speed:.{0 if speed >= 10 else 1}f}x real time), after {loaded - started:.1f} s of loading")


def _write_best(model: Model, request: Request, prompt: Prompt, seed: int, paths: list[Path],
                progress: Progress | None) -> Made:
    """Clip after clip, the best of so many takes each; seeds count on over all of them."""
    from orchestrion.playing.ranking import best_of, find_judge, noted

    judge = find_judge(model, request.rank_by)
    started, told = time.perf_counter(), []
    for number, path in enumerate(paths):
        first = seed + number * request.best_of
        share = (lambda done, number=number: progress((number + done) / len(paths))) if progress else None
        best, takes = best_of(model, judge, prompt, request.duration, range(first, first + request.best_of),
                              request.options, share)
        alone = replace(request, count=1)
        noted(best, takes, judge.name, again(alone, model, takes[0].seed, path)).write(path)
        told.append(f"seed {takes[0].seed} ({takes[0].nearness:.2f}, the others {takes[1].nearness:.2f} and below)")
    return Made(paths, f"{model.name}, best of {request.best_of} by {judge.name}: {'; '.join(told)}, in "
                       f"{time.perf_counter() - started:.1f} s")


def again(request: Request, model: Model, seed: int, output: Path) -> str:
    """The command that makes the same files: every choice explicit, the model by where it is."""
    chosen = {name: value for name, value in request.options.items() if value is not None}
    options: dict[str, Any] = {"p": request.prompt, "negative": request.negative,
                               "like": None if request.like is None else str(request.like.resolve()),
                               "a": [f"{k}={v:.15g}" for k, v in request.attributes.items()],
                               "d": float(request.duration), "seed": seed,
                               "n": request.count if request.count > 1 else None, **chosen,
                               "device": str(model.device), "dtype": str(model.dtype).removeprefix("torch."),
                               "o": str(output)}
    return command_line("loop" if request.loop else "generate", [model.source], options)


def heard(model: Model, path: Path) -> Tensor:
    """The sound of a file `[1 t]`, as the model's conditioner hears it."""
    rate = getattr(model.system.conditioner, "sample_rate", None)
    if rate is None:
        raise UserError(f"{model.name} can't hear {path}: models that make something like a sound are those of "
                        "conditional-audio-diffusion and audioldm")
    samples = Audio.read(path).resample(int(rate)).to_channels(1).samples
    if samples.shape[1] == 0:
        raise UserError(f"there is no sound in {path} to make something like: it has no samples")
    return samples


def looping_model(prompted: bool) -> str:
    """The usual model, else the first bundled one that can loop."""
    import orchestrion.systems  # noqa: F401  (its pages enter themselves into the table)

    usual = aliases()[default_model(prompted)]
    for name, folder in sorted(bundled_models().items(), key=lambda item: item[0] != usual):
        if can_loop(read_system_config(folder).generator):
            return name
    trained = [s.name for s in SYSTEMS.values() if can_loop(s.recipe(s.sizes[0]).system.generator)]
    raise UserError("no bundled model loops yet: name one that does, such as the folder of one trained as "
                    f"{', '.join(sorted(trained))}")


def can_loop(config: GeneratorConfig | None) -> bool:
    """By the generator that the config says it builds."""
    made = get_type_hints(type(config).build).get("return") if config else None
    return "loop" in getattr(made, "capabilities", ())


def numbered(output: Path, count: int) -> list[Path]:
    """`out.wav`, or `out-1.wav`, `out-2.wav` … where there are several."""
    if count == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{index}") for index in range(1, count + 1)]

