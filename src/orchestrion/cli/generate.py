"""`generate` and `loop`: new sound."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrion.cli.shared import Device, Dtype, Output, numbers, progress_bar

Words = Annotated[str | None, typer.Option("-p", "--prompt", help="What to play, in words, for models that take "
                                               "them.")]
Negative = Annotated[str | None, typer.Option("--negative", help="What not to play, in words.")]
Numbers = Annotated[list[str] | None, typer.Option("-a", "--attribute", metavar="NAME=NUMBER",
                                                   help="What to play, in numbers: tempo=90.")]
Plot = Annotated[bool, typer.Option("--plot", help="Also write a spectrogram picture (png).")]
Duration = Annotated[float, typer.Option("-d", "--duration", help="Seconds.")]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same clip. Default: any.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Sampling steps (flow, diffusion).")]
Scale = Annotated[float | None, typer.Option("--cfg-scale", help="How strongly prompt and beat steer.")]
Variety = Annotated[float | None, typer.Option("--variety", "--truncation",
                                               help="How far to stray: 0.1 tame, 2 usual, 4 wild (GAN).")]
Solver = Annotated[str | None, typer.Option("--solver", help="adams, euler, heun or midpoint (flow); dpm-2m, ddim, "
                                                         "ddpm, euler, heun or adpm2 (diffusion).")]
Shift = Annotated[float | None, typer.Option("--shift", help="Above 1: more of the steps near the noise (flow).")]
Temperature = Annotated[float | None, typer.Option("--temperature", help="1: as learnt, below: safer, 0: the likeliest "
                                                                         "(prior).")]
Resamples = Annotated[int | None, typer.Option("--resamples", help="How often each step is taken, so that the new fits "
                                                                   "the old (diffusion, in-painting).")]


def register(app: typer.Typer) -> None:
    app.command()(generate)
    app.command()(loop)


def generate(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", show_default=False, help=(
        "A bundled model (see `orchestrion models`), a model folder, or hf:owner/name; by default piano, or with a "
        "prompt text."))] = None,
    prompt: Words = None,
    negative: Negative = None,
    attribute: Numbers = None,
    like: Annotated[Path | None, typer.Option("--like", help="A sound file: make something like it (models that "
                                                            "hear, such as conditional-audio-diffusion).")] = None,
    duration: Duration = 20.0,
    seed: Seed = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Clips; each from its own seed, the next "
                                                                   "number after the one before.")] = 1,
    steps: Steps = None,
    solver: Solver = None,
    shift: Shift = None,
    cfg_scale: Scale = None,
    cfg_from: Annotated[float | None, typer.Option("--cfg-from", help="Let them steer so only from this share of "
                                                                     "the way from noise to sound (flow).")] = None,
    cfg_until: Annotated[float | None, typer.Option("--cfg-until", help="And only until this one (flow).")] = None,
    guide_scale: Annotated[float | None, typer.Option("--guide-scale", help="How far to go away from what the model's "
                                                      "guide would do, if it has one; 1: not at all (flow, "
                                                      "diffusion).")] = None,
    guide_from: Annotated[float | None, typer.Option("--guide-from", help="And only from this share of the way on "
                                                     "(flow).")] = None,
    guide_until: Annotated[float | None, typer.Option("--guide-until", help="And only until this one (diffusion)."
                                                      )] = None,
    variety: Variety = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help="Of the noise levels: even, karras, log-snr or "
                                                                    "leading (diffusion).")] = None,
    eta: Annotated[float | None, typer.Option("--eta", help="With --solver ddim: 0 draws no noise on the way, 1 as "
                                                            "much as ddpm (diffusion).")] = None,
    resamples: Resamples = None,
    temperature: Temperature = None,
    best_of: Annotated[int, typer.Option("--best-of", min=1, max=1000, metavar="N", help=(
        "Make N takes of each clip and keep the one that a CLAP finds nearest to the prompt."))] = 1,
    rank_by: Annotated[str | None, typer.Option("--rank-by", metavar="CLAP", help=(
        "Who judges them: a model folder, hf:owner/name or laion:NAME; by default the model's own CLAP."))] = None,
    output: Output = None,
    plot: Plot = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Make new sound: orchestrion generate piano -d 20 --seed 1 -o piano.wav"""
    from orchestrion.playing.request import Request, make_files

    request = Request(model=model, duration=duration, seed=seed, count=count, output=output, prompt=prompt,
                      negative=negative, like=like,
                      attributes=numbers(attribute or [], "--attribute"),
                      options={"steps": steps, "solver": solver, "shift": shift, "cfg_scale": cfg_scale,
                               "cfg_from": cfg_from, "cfg_until": cfg_until, "guide_scale": guide_scale,
                               "guide_from": guide_from, "guide_until": guide_until, "variety": variety,
                               "schedule": schedule, "eta": eta, "resamples": resamples, "temperature": temperature},
                      device=device, dtype=dtype, best_of=best_of, rank_by=rank_by)
    with progress_bar("generating") as progress:
        made = make_files(request, progress)
    report(made.paths, made.summary, plot)


def loop(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", show_default=False, help=(
        "A model that can loop, as for generate; by default the first bundled one that can."))] = None,
    prompt: Words = None,
    negative: Negative = None,
    attribute: Numbers = None,
    duration: Duration = 12.0,
    seed: Seed = None,
    steps: Steps = None,
    solver: Solver = None,
    shift: Shift = None,
    cfg_scale: Scale = None,
    variety: Variety = None,
    output: Output = None,
    plot: Plot = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Make a clip whose end runs into its beginning: orchestrion loop -d 8 -o loop.wav"""
    from orchestrion.playing.request import Request, make_files

    request = Request(model=model, duration=duration, seed=seed, output=output, prompt=prompt, negative=negative,
                      attributes=numbers(attribute or [], "--attribute"),
                      options={"steps": steps, "solver": solver, "shift": shift, "cfg_scale": cfg_scale,
                               "variety": variety},
                      device=device, dtype=dtype, loop=True)
    with progress_bar("looping") as progress:
        made = make_files(request, progress)
    report(made.paths, made.summary, plot)


def report(paths: list[Path], summary: str, plot: bool) -> None:
    for path in paths:
        typer.echo(path)
        if plot:
            from orchestrion.audio import Audio

            typer.echo(Audio.read(path).plot(path.with_suffix(".png"), path.name))
    typer.echo(summary, err=True)
