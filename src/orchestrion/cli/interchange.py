"""`import` and `export`: other tools' weights into a model folder, and models into other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrion.cli.shared import ModelName

if TYPE_CHECKING:
    from orchestrion.systems.system import System


def register(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command()(export)


def import_(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Musika's published .h5 files, or the "
                                                                            "folders that hold them; or RAVE's run "
                                                                            "folder, .ckpt or .ts; or, with --system, "
                                                                            "weights of audio-diffusion-pytorch; "
                                                                            "or the folder of an audio-diffusion "
                                                                            "or AudioLDM pipeline, or hf:owner/name "
                                                                            "of one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model folder to write.")],
    licence: Annotated[str, typer.Option(help="Of these weights, as their authors state it.")] = "unknown",
    trust: Annotated[bool, typer.Option("--trust", help="Read .ts files too: they hold code that runs.")] = False,
    sample_rate: Annotated[int | None, typer.Option(help="Of a RAVE checkpoint without its config.gin.")] = None,
    system: Annotated[str | None, typer.Option(help="Which of Moûsai's: waveform, dmae, upsampler, vocoder or "
                                                    "ladder.")] = None,
    size: Annotated[str, typer.Option(help="Of that system.")] = "paper",
) -> None:
    """Turn Musika's, RAVE's, Moûsai's or diffusers' weights into a model: orchestrion import ae/ techno/ -o techno"""
    from orchestrion.errors import UserError
    from orchestrion.interchange.diffusers import is_pipeline
    from orchestrion.interchange.mousai import import_mousai
    from orchestrion.interchange.musika import import_musika
    from orchestrion.interchange.rave import import_rave, is_rave
    from orchestrion.storage import check_writable, replacing
    from orchestrion.systems.folder import About, check_model_target, save_model

    check_writable(output)
    check_model_target(output)
    if missing := [source for source in sources if not (source.exists() or str(source).startswith("hf:"))]:
        raise UserError(f"{missing[0]} doesn't exist: give a file or folder of weights, or hf:owner/name")
    if system is not None:
        about = About(output.name, summary="Moûsai, with weights trained by audio-diffusion-pytorch.", licence=licence,
                      data=f"Imported from {sources[0].name}.")
        save_model(import_mousai(sources[0], system, size), output, about)
        typer.echo(output)
        return
    if is_pipeline(sources[0]):
        _import_pipeline(str(sources[0]), output, licence)
        return
    if is_rave(sources):
        rave = import_rave(sources[0], trust, sample_rate)
        about = About(output.name, summary="RAVE, with weights trained by acids-rave.", licence=licence,
                      data=f"Imported from {sources[0].name}.")
        save_model(rave.system, output, about)
        if rave.unknown:
            typer.echo(f"not told by the file, so taken as usual: {', '.join(rave.unknown)}", err=True)
        typer.echo(output)
        return
    imported = import_musika(*sources)
    about = About(output.name, summary="Musika, with weights that its authors trained.", licence=licence,
                  data=f"Imported from {', '.join(source.name for source in sources)}.")
    save_model(imported.system, output, about)
    if imported.objective:
        from safetensors.torch import save_file

        with replacing(output / "objective.safetensors") as part:  # the critic, to go on training with
            save_file({name: value.contiguous() for name, value in imported.objective.items()}, part)
    typer.echo(output)


def export(
    model: ModelName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; .onnx makes two of it.")],
    to: Annotated[str, typer.Option("--to", help="torchscript (nn~ in Max, Pure Data) or onnx.")] = "torchscript",
    fidelity: Annotated[float | None, typer.Option(help="Only the latents that explain this share of what varies, "
                                                        "such as 0.95.")] = None,
) -> None:
    """Export a RAVE, compared in another process before it is written: orchestrion export my-rave -o my-rave.ts"""
    from orchestrion.errors import UserError, did_you_mean
    from orchestrion.interchange.nn_tilde import export_onnx, export_torchscript
    from orchestrion.storage import check_writable
    from orchestrion.systems.folder import load_model
    from orchestrion.systems.shelf import find_model

    exporters = {"torchscript": export_torchscript, "onnx": export_onnx}
    if to not in exporters:
        raise UserError(f"there is no export to {to!r}; {did_you_mean(to, exporters)}")
    check_writable(output)
    system = load_model(find_model(model)).system
    if fidelity is not None:
        if not hasattr(system.codec, "keep"):
            raise UserError(f"{model}'s latents aren't ordered by importance, so --fidelity has no meaning")
        typer.echo(f"{system.codec.keep(fidelity)} latents are kept", err=True)  # type: ignore[operator]
    difference = exporters[to](system, output)
    typer.echo(output)
    typer.echo(f"compared in a clean process: differs by {difference:.1e} at most", err=True)


def _import_pipeline(source: str, output: Path, licence: str) -> None:
    from orchestrion.interchange.diffusers import fetch_pipeline, import_pipeline
    from orchestrion.systems.folder import About, save_model

    folder = fetch_pipeline(source)
    system, defaults = import_pipeline(folder)
    about = About(output.name, summary=f"{_kind(system)}, from a published pipeline.", licence=licence,
                  data=f"Imported from {source}.", defaults=defaults)
    save_model(system, output, about)
    typer.echo(output)


def _kind(system: "System") -> str:
    return "AudioLDM" if system.conditioner else "audio-diffusion"
