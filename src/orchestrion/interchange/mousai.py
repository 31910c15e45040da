"""Weights of audio-diffusion-pytorch, a-unet and audio-encoders-pytorch (archinetai) into Moûsai's parts.

Their networks are nested closures, whose `state_dict` names say little (`net.blocks.2.net.block.blocks.0.block.weight`)
but whose order is that of construction, as is ours; so weights are taken in order, and every shape must fit.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from orchestrion.codecs.dmae import Dmae
from orchestrion.codecs.vocoder import Vocoder
from orchestrion.errors import UserError
from orchestrion.nn.unet1d import LearnedTransform, TimeFeatures, UNet1d

Weights = Mapping[str, Tensor]

# A time's layer is applied twice and so stands there twice; samplers and diffusions hold the net again.
REPEATED = re.compile(r"(^|\.)blocks\.1\.blocks\.1\.0\.(weight|bias)$")


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
