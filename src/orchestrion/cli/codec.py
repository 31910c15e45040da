"""`encode`, `decode`, `reconstruct`: through a model's codec."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrion.cli.shared import Device, Dtype, ModelName

Source = Annotated[Path, typer.Argument(metavar="IN", help="The file to read.")]
Target = Annotated[Path, typer.Option("-o", "--output", help="The file to write.")]


def register(app: typer.Typer) -> None:
    for verb in (encode, decode, reconstruct):
        app.command()(verb)


def encode(model: ModelName, source: Source, output: Target, device: Device = "auto",
           dtype: Dtype = "auto") -> None:
    """Turn audio into a model's latents: orchestrion encode piano in.wav -o in.safetensors"""
    from orchestrion.audio.files import info
    from orchestrion.playing import Model
    from orchestrion.playing.latents import check_latents_path, encode_file
    from orchestrion.playing.origin import check_apart

    info(source)
    check_latents_path(output)
    check_apart([output], [source])
    encode_file(Model.load(model, device, dtype), source, output)
    typer.echo(output)


def decode(model: ModelName, source: Source, output: Target, device: Device = "auto",
           dtype: Dtype = "auto") -> None:
    """Turn latents back into audio: orchestrion decode piano in.safetensors -o out.wav"""
    from orchestrion.audio.files import output_format
    from orchestrion.playing import Model
    from orchestrion.playing.latents import decode_file, read_latents
    from orchestrion.playing.origin import origin, write_signed
    from orchestrion.storage import check_writable

    read_latents(source)
    output_format(output)
    check_writable(output)
    loaded = Model.load(model, device, dtype)
    made = decode_file(loaded, source)
    typer.echo(write_signed(made, origin(loaded, "decode", [source], {}, output), output))


def reconstruct(model: ModelName, source: Source, output: Target, device: Device = "auto",
                dtype: Dtype = "auto") -> None:
    """Audio through the codec and back: the best that any generator over it can sound."""
    from orchestrion.audio import Audio
    from orchestrion.audio.files import info, output_format
    from orchestrion.playing import Model
    from orchestrion.playing.origin import check_apart, origin, write_signed
    from orchestrion.storage import check_writable

    info(source)
    output_format(output)
    check_writable(output)
    check_apart([output], [source])
    loaded = Model.load(model, device, dtype)
    made = loaded.reconstruct(Audio.read(source))
    typer.echo(write_signed(made, origin(loaded, "reconstruct", [source], {}, output), output))
