"""Weights of audio-diffusion-pytorch, a-unet and audio-encoders-pytorch (archinetai) into Moûsai's parts.

Their networks are nested closures, whose `state_dict` names say little (`net.blocks.2.net.block.blocks.0.block.weight`)
but whose order is that of construction, as is ours; so weights are taken in order, and every shape must fit.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

import orchestrion.systems  # noqa: F401  (fills the table)
from orchestrion.codecs.dmae import Dmae
from orchestrion.codecs.upsampler import Upsampler
from orchestrion.codecs.vocoder import Vocoder
from orchestrion.errors import UserError, did_you_mean
from orchestrion.nn.unet1d import LearnedTransform, TimeFeatures, UNet1d
from orchestrion.nn.unet1d_denoiser import UNet1dDenoiser
from orchestrion.systems.system import System, find_system

Weights = Mapping[str, Tensor]

IMPORTED = ("waveform", "dmae", "upsampler", "vocoder", "ladder")
HELD_AGAIN = ("diffusion.", "sampler.")  # samplers and diffusions hold the net again

# A time's layer is applied twice and so stands there twice.
REPEATED = re.compile(r"(^|\.)blocks\.1\.blocks\.1\.0\.(weight|bias)$")


def import_mousai(path: Path, name: str, size: str) -> System:
    """A checkpoint of DiffusionModel, DiffusionAE (with ME1d), DiffusionUpsampler, DiffusionVocoder or DiffusionAR as
    the system `name` (waveform, dmae, upsampler, vocoder, ladder) in `size`.

    The file is a `state_dict` as torch or safetensors save it, under any prefix (`model.`, `autoencoder.`); its
    configuration isn't in it, so it must be that of the size. Their nets see samples as they are: `level` becomes 1.
    """
    recipe = find_system(name).recipe(size)
    if name not in IMPORTED:
        raise UserError(f"audio-diffusion-pytorch has no {name!r}; {did_you_mean(name, IMPORTED)}")
    system = recipe.override("system.codec.level", "1.0").system.build()
    weights = {key: value for key, value in bare(read(path), path).items() if not key.startswith(HELD_AGAIN)}
    codec = system.codec
    if isinstance(codec, Dmae):
        fill_dmae(codec, weights, str(path))
    elif isinstance(codec, Vocoder):
        fill_vocoder(codec, weights, str(path))
    elif isinstance(codec, Upsampler):
        fill(codec.decoder, beneath(weights, "net."), str(path))
    else:
        net = system.get_submodule("generator.net")
        fill(net.net if isinstance(net, UNet1dDenoiser) else net, beneath(weights, "net."), str(path))
    return system


def read(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of a .safetensors file or of one that torch saved; no code is run."""
    from safetensors.torch import load_file

    if not path.exists():
        raise UserError(f"there is no file {path}")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever it likes
        raise UserError(f"{path} can't be read as weights: give a state_dict that torch.save or safetensors wrote, "
                        "with nothing but tensors in it") from error
    loaded = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(loaded, dict) or not any(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(f"{path} holds no weights by name: give a state_dict")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def bare(weights: Weights, path: Path) -> dict[str, Tensor]:
    """Without the prefix under which the file holds the model."""
    for name in weights:
        found = re.match(r"(.*?)net\.", name)
        if found and not re.search(r"(^|\.)(diffusion|sampler)\.$", found[1]):
            return beneath(weights, found[1])
    raise UserError(f"{path} holds no model of audio-diffusion-pytorch: none of its weights is a net's")


def fill(module: nn.Module, weights: Weights, where: str = "these weights") -> None:
    """Copies their weights into `module`: a UNet1d, a LearnedTransform, or any module of parameters in their order.

    Raises UserError where the number of weights or a shape differs.
    """
    theirs = {name: value for name, value in weights.items() if not _repeats(name, weights)}
    ours = list(_in_order(module))
    if len(ours) != len(theirs):
        raise UserError(f"{where}: {len(theirs)} weights where {len(ours)} belong; is this of another configuration?")
    with torch.no_grad():
        for target, (name, value) in zip(ours, theirs.items()):
            fitting = value.unsqueeze(-2) if target.ndim == 4 and value.ndim == 3 else value
            if fitting.shape != target.shape:
                raise UserError(f"{where}: {name} has the shape {list(value.shape)} where {list(target.shape)} belongs")
            if not value.isfinite().all():
                raise UserError(f"{where}: {name} holds values that aren't numbers: fetch the file again")
            target.copy_(fitting)


def fill_dmae(codec: Dmae, weights: Weights, where: str = "these weights") -> None:
    """Of a DiffusionAE whose encoder is ME1d."""
    encoder = {name: value for name, value in beneath(weights, "encoder.").items() if not name.startswith("stft.")}
    fill(codec.encoder, encoder, where)
    fill(codec.decoder, beneath(weights, "net."), where)


def fill_vocoder(codec: Vocoder, weights: Weights, where: str = "these weights") -> None:
    """Of a DiffusionVocoder."""
    fill(codec.flatten, beneath(weights, "to_flat."), where)
    fill(codec.decoder, beneath(weights, "net."), where)


def beneath(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _repeats(name: str, weights: Weights) -> bool:
    if not REPEATED.search(name):
        return False
    first = weights.get(re.sub(r"blocks\.1\.0\.(weight|bias)$", r"blocks.0.0.\1", name))
    return first is not None and torch.equal(first, weights[name])


def _in_order(module: nn.Module) -> Iterator[Tensor]:
    """Parameters in the order in which their constructors make them."""
    if isinstance(module, UNet1d):
        if module.time is not None:
            yield from _in_order(module.time)
        if module.null is not None:
            yield module.null
        yield from module.level.parameters()
    elif isinstance(module, LearnedTransform):
        yield from (module.encode.weight, module.decode.weight)
        yield from _in_order(module.net)
    elif isinstance(module, TimeFeatures):
        yield module.frequencies
        yield from (*module.enter.parameters(), *module.again.parameters())
    else:
        yield from module.parameters()
