"""`transfer`, `interpolate`, `sliders`: sounds through a model's latents, whole, as they come, or at play."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrion.cli.generate import Scale, Solver, Steps, Words
from orchestrion.cli.shared import Device, Dtype, ModelName, numbers, progress_bar
from orchestrion.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from orchestrion.audio import Audio
    from orchestrion.playing import Model
    from orchestrion.playing.transfer import LatentEdit

Target = Annotated[Path, typer.Option("-o", "--output", help="The file to write; with --stream, - is stdout.")]
Fidelity = Annotated[float | None, typer.Option(help="Code only the latents that explain this share of what varies, "
                                                     "such as 0.95 (RAVE).")]


def register(app: typer.Typer) -> None:
    app.command()(transfer)
    app.command()(interpolate)
    app.command()(sliders)


def transfer(
    model: ModelName,
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any sound; with --stream, - is stdin.")],
    output: Target,
    fidelity: Fidelity = None,
    scale: Annotated[list[str] | None, typer.Option(metavar="LATENT=FACTOR", help="Multiply a latent, or all: "
                                                                                  "0=1.5, all=0.8.")] = None,
    bias: Annotated[list[str] | None, typer.Option(metavar="LATENT=NUMBER", help="Move a latent: 0=-1.")] = None,
    noise: Annotated[float, typer.Option(help="Add noise of this size to the latents.")] = 0.0,
    style: Annotated[Path | None, typer.Option(help="A sound whose style to take (RAVE v3).")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Block by block, as on stage; reports latency and overruns. "
                                         "stdin and stdout carry 32-bit floats at the model's rate.")] = False,
    block: Annotated[int, typer.Option(min=1, max=2**20, help="Samples in a block, with --stream.")] = 2048,
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", help="Play it as these words say, by a model that "
                                               "takes prompts and varies (as `vary -p` does).")] = None,
    strength: Annotated[float | None, typer.Option(help="With -p: 0 changes nothing, 1 everything; else 0.5.")] = None,
    negative: Annotated[str | None, typer.Option("--negative", help="With -p: what not to play, in words.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="With -p: the same seed gives the same sound.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="With -p: sampling steps.")] = None,
    cfg_scale: Annotated[float | None, typer.Option("--cfg-scale", help="With -p: how strongly it steers.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Play any sound with a model's timbre: orchestrion transfer my-rave voice.wav -o violin.wav"""
    if prompt is not None:
        if fidelity is not None or scale or bias or noise or style is not None or stream:
            raise UserError("-p plays a sound as words say, and --scale, --bias, --noise, --fidelity, --style and "
                            "--stream change latents: ask for one or the other")
        _by_prompt(model, source, output, prompt, negative, 0.5 if strength is None else strength, seed,
                   {"steps": steps, "cfg_scale": cfg_scale}, device, dtype)
        return
    for flag, given in (("strength", strength), ("negative", negative), ("seed", seed), ("steps", steps),
                        ("cfg-scale", cfg_scale)):
        if given is not None:
            raise UserError(f"--{flag} belongs to a transfer by words: give them by -p, or leave it out")
    from orchestrion.playing import Model
    from orchestrion.playing.origin import check_apart, made_from, origin, write_signed
    from orchestrion.playing.transfer import LatentEdit, keep_fidelity
    from orchestrion.playing.transfer import transfer as whole

    live = "-" in (str(source), str(output))
    if live and not stream:
        raise UserError("- stands for stdin or stdout only with --stream")
    if stream and style is not None:
        raise UserError("--style hears the whole sound first, so it can't be had with --stream")
    audio = None if str(source) == "-" else _read(source)
    if audio is not None and not audio.samples.shape[1]:
        raise UserError(f"there is no sound in {source}: it has no samples")
    if str(output) != "-":
        _check(output)
        check_apart([output], [source, *([style] if style else [])])
    loaded = Model.load(model, device, dtype)
    keep_fidelity(loaded, fidelity)
    edit = LatentEdit(_latents(scale, "--scale"), _latents(bias, "--bias"), noise)
    if audio is not None and audio.sample_rate != loaded.sample_rate:
        typer.echo(f"{source} is resampled from {audio.sample_rate} to {loaded.sample_rate} Hz", err=True)
    options = {"fidelity": fidelity, "scale": scale, "bias": bias, "noise": noise or None,
               "style": str(style.resolve()) if style else None, "stream": stream, "block": block if stream else None}
    signature = {} if live else origin(loaded, "transfer", [source], options, output)
    if style is not None:
        signature["made_from"] |= made_from([style])
    if stream:
        _stream(loaded, audio, output, edit, block, signature)
        return
    assert audio is not None
    typer.echo(write_signed(whole(loaded, audio, edit, _read(style) if style else None), signature, output))


def _by_prompt(model: str, source: Path, output: Path, prompt: str, negative: str | None, strength: float,
               seed: int | None, options: dict[str, Any], device: str, dtype: str) -> None:
    from orchestrion.cli.generate import report
    from orchestrion.playing.editing import TRANSFER, EditRequest, edit_files

    if not prompt.strip():
        raise UserError("a transfer by words needs some: -p \"slow harp\"")
    request = EditRequest([model, str(source)], {"strength": strength}, seed, 1, output, prompt, negative, options,
                          device, dtype)
    with progress_bar("transfer") as progress:
        made = edit_files(TRANSFER, request, progress)
    report(made.paths, made.summary, plot=False)


def interpolate(
    model: ModelName,
    first: Annotated[Path, typer.Argument(metavar="IN")],
    second: Annotated[Path, typer.Argument(metavar="IN")],
    output: Target,
    mix: Annotated[float, typer.Option(help="0 is the first sound, 1 the second.")] = 0.5,
    prompt: Words = None,
    steps: Steps = None,
    solver: Solver = None,
    cfg_scale: Scale = None,
    fidelity: Fidelity = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Make a sound between two: orchestrion interpolate my-rave a.wav b.wav -o between.wav"""
    from orchestrion.playing import Model
    from orchestrion.playing.edits import How
    from orchestrion.playing.origin import check_apart, origin, write_signed
    from orchestrion.playing.transfer import interpolate as between
    from orchestrion.playing.transfer import keep_fidelity

    sounds = _read(first), _read(second)
    _check(output)
    check_apart([output], [first, second])
    loaded = Model.load(model, device, dtype)
    keep_fidelity(loaded, fidelity)
    options = {"steps": steps, "solver": solver, "cfg_scale": cfg_scale}
    with progress_bar("interpolate") as progress:
        made = between(loaded, *sounds, mix, How(prompt=prompt, options=options, progress=progress))
    signature = origin(loaded, "interpolate", [first, second], {"mix": mix, "p": prompt, **options,
                                                                "fidelity": fidelity}, output)
    typer.echo(write_signed(made, signature, output))


def sliders(
    model: ModelName,
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any sound of up to a minute.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Latents that get a slider, the main ones first.")] = 8,
    fidelity: Fidelity = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page's address; 0: any that is free.")] = 8337,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Move a sound's main latents by sliders and listen, in a browser: orchestrion sliders my-rave voice.wav"""
    from orchestrion.playing import Model
    from orchestrion.playing.sliders import Sliders, serve
    from orchestrion.playing.transfer import keep_fidelity

    audio = _read(source)
    loaded = Model.load(model, device, dtype)
    keep_fidelity(loaded, fidelity)
    with serve(Sliders(loaded, audio, source, count), port) as server:
        typer.echo(f"open http://{server.server_address[0]!s}:{server.server_address[1]}/ in a browser; Ctrl-C ends")
        server.serve_forever()


def _stream(model: "Model", audio: "Audio | None", output: Path, edit: "LatentEdit", size: int,
            signature: dict[str, Any]) -> None:
    from orchestrion.audio.files import Writer
    from orchestrion.playing.streaming import Report, Stream, cut, play

    stream, report = Stream(model, size, edit), Report(size / model.sample_rate)
    if audio is None:
        blocks = _from_stdin(model.channels, size)
    else:
        fitting = audio.resample(model.sample_rate).to_channels(model.channels)
        blocks = cut(fitting.samples, size)
    played = play(stream, blocks, size, report)
    if str(output) == "-":
        for made in played:
            sys.stdout.buffer.write(made.T.contiguous().numpy().tobytes())
            sys.stdout.buffer.flush()
    else:
        record = model.record("transfer", block=size) | signature
        with Writer(output, model.sample_rate, model.channels, record) as writer:
            for made in played:
                writer.write(made)
        typer.echo(output)
    typer.echo(str(report), err=True)


def _from_stdin(channels: int, size: int) -> Iterator["Tensor"]:
    """Interleaved 32-bit floats -> blocks `[c size]`, until the input ends."""
    import numpy as np
    import torch

    while data := sys.stdin.buffer.read(4 * channels * size):
        samples = np.zeros(channels * size, np.float32)
        known = np.frombuffer(data[: len(data) // (4 * channels) * 4 * channels], np.float32)
        samples[: len(known)] = known
        yield torch.from_numpy(samples.reshape(size, channels).T.copy())


def _latents(pairs: list[str] | None, flag: str) -> dict[int, float]:
    found = {}
    for name, value in numbers(pairs or [], flag, "0=1.5").items():
        if name != "all" and not name.isdecimal():
            raise UserError(f"{flag} takes the number of a latent, or all, such as 0=1.5, not {name!r}")
        found[-1 if name == "all" else int(name)] = value
    return found


def _read(path: Path) -> "Audio":
    from orchestrion.audio import Audio

    return Audio.read(path)


def _check(output: Path) -> None:
    from orchestrion.audio.files import output_format
    from orchestrion.storage import check_writable

    output_format(output)
    check_writable(output)
