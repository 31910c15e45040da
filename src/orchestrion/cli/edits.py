"""`continue`, `inpaint`, `vary`, `brighten`: sound that is there already, made further."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrion.cli.generate import Negative, Resamples, Scale, Seed, Shift, Steps, Temperature, Words, report
from orchestrion.cli.shared import Device, Dtype, Output, progress_bar

if TYPE_CHECKING:
    from orchestrion.playing.editing import EditRequest, Verb

One = Annotated[list[str], typer.Argument(metavar="[MODEL] FILE", help="The file to edit; before it, if it is not to "
                                                                       "be piano, the model.")]
Count = Annotated[int, typer.Option("-n", "--count", min=1, help="Files; each from its own seed, the next number "
                                                                 "after the one before.")]
Solver = Annotated[str | None, typer.Option("--solver", help="Of the model's family; see docs/diffusion.md.")]
Strength = Annotated[float, typer.Option("--strength", "--init-noise-level", help="0 changes nothing, 1 everything.")]


def register(app: typer.Typer) -> None:
    app.command("continue")(continue_)
    for verb in (inpaint, vary, brighten):
        app.command()(verb)


def continue_(words: One, duration: Annotated[float, typer.Option("-d", "--duration", help="Seconds more.")] = 10.0,
              prompt: Words = None, negative: Negative = None, seed: Seed = None, count: Count = 1, steps: Steps = None,
              solver: Solver = None, shift: Shift = None, cfg_scale: Scale = None, temperature: Temperature = None,
              output: Output = None, device: Device = "auto", dtype: Dtype = "auto") -> None:
    """Play on from where a file ends: orchestrion continue song.wav -d 20 -o longer.wav"""
    from orchestrion.playing.editing import CONTINUE, EditRequest

    options = {"steps": steps, "solver": solver, "shift": shift, "cfg_scale": cfg_scale, "temperature": temperature}
    _edit(CONTINUE, EditRequest(words, {"duration": duration}, seed, count, output, prompt, negative, options, device,
                                dtype))


def inpaint(words: One, start: Annotated[float, typer.Option("--from", help="Second at which the new part begins.")],
            stop: Annotated[float, typer.Option("--to", help="Second at which it ends.")], prompt: Words = None,
            negative: Negative = None, seed: Seed = None, count: Count = 1, steps: Steps = None, solver: Solver = None,
            shift: Shift = None, cfg_scale: Scale = None, resamples: Resamples = None,
            output: Output = None, device: Device = "auto", dtype: Dtype = "auto") -> None:
    """Make a part of a file anew: orchestrion inpaint song.wav --from 8 --to 12 -o mended.wav"""
    from orchestrion.playing.editing import INPAINT, EditRequest

    options = {"steps": steps, "solver": solver, "shift": shift, "cfg_scale": cfg_scale, "resamples": resamples}
    _edit(INPAINT, EditRequest(words, {"start": start, "stop": stop}, seed, count, output, prompt, negative, options,
                               device, dtype))


def vary(words: One, strength: Strength = 0.5, prompt: Words = None, negative: Negative = None, seed: Seed = None,
         count: Count = 1, steps: Steps = None, solver: Solver = None, shift: Shift = None, cfg_scale: Scale = None,
         output: Output = None, device: Device = "auto", dtype: Dtype = "auto") -> None:
    """Play a file otherwise, or as a prompt says: orchestrion vary song.wav --strength 0.4 -o variation.wav"""
    from orchestrion.playing.editing import VARY, EditRequest

    options = {"steps": steps, "solver": solver, "shift": shift, "cfg_scale": cfg_scale}
    _edit(VARY, EditRequest(words, {"strength": strength}, seed, count, output, prompt, negative, options, device,
                            dtype))


def brighten(words: One, above: Annotated[float | None, typer.Option("--above", metavar="HZ", help=(
                 "From which frequency on; by default the highest that the file's sample rate can hold."))] = None,
             prompt: Words = None, negative: Negative = None, seed: Seed = None, count: Count = 1, steps: Steps = None,
             solver: Solver = None, cfg_scale: Scale = None, resamples: Resamples = None, output: Output = None,
             device: Device = "auto", dtype: Dtype = "auto") -> None:
    """Make the treble anew (super-resolution): orchestrion brighten MODEL old.wav --above 4000 -o clear.wav"""
    from orchestrion.playing.editing import BRIGHTEN, EditRequest

    options = {"steps": steps, "solver": solver, "cfg_scale": cfg_scale, "resamples": resamples}
    numbers = {} if above is None else {"above": above}
    _edit(BRIGHTEN, EditRequest(words, numbers, seed, count, output, prompt, negative, options, device, dtype))


def _edit(verb: "Verb", request: "EditRequest") -> None:
    from orchestrion.playing.editing import edit_files

    with progress_bar(verb.name) as progress:
        made = edit_files(verb, request, progress)
    report(made.paths, made.summary, plot=False)


