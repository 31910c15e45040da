"""RAVE's own checkpoints (acids-rave's `.ckpt` with `config.gin`) and exported `.ts` files into our codec.

Widths, ratios and the kind of model are read from the weights' shapes; sample rate, dilations and causality, which
leave no trace there, from `config.gin` beside the checkpoint or from what the exported file says of itself. Layers are
filled in order. The critics are not read: the second stage begins with fresh ones.
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orchestrion.codecs.rave import (
    QuantisedConfig,
    RaveCodec,
    RaveConfig,
    RaveNoiseConfig,
    RaveV1Config,
    RaveV2Config,
    VariationalConfig,
    WassersteinConfig,
)
from orchestrion.codecs.rave.bottlenecks import BottleneckConfig, Quantised
from orchestrion.codecs.rave.networks import DecoderV1, DecoderV2, RaveNetConfig
from orchestrion.errors import UserError
from orchestrion.nn.streaming import BatchNorm, Snake, Weight
from orchestrion.systems.system import System, SystemConfig

Layer = dict[str, Tensor]
"""One layer's tensors, by their last name."""
DILATIONS = {3: (1, 3, 9), 2: (1, 3), 1: (1,)}  # by the number of units, where no config tells


@dataclass
class ImportedRave:
    system: System
    unknown: list[str]  # what neither weights nor config told, and was taken as usual


def is_rave(sources: Sequence[Path]) -> bool:
    """Whether these look like RAVE's: one `.ckpt` or `.ts`, or a folder that holds checkpoints."""
    if len(sources) != 1:
        return False
    return sources[0].suffix in (".ckpt", ".ts") or (sources[0].is_dir() and any(sources[0].rglob("*.ckpt")))


def import_rave(source: Path, trust: bool = False, sample_rate: int | None = None) -> ImportedRave:
    """source: a `.ckpt` (its `config.gin` in the same folder or up to three above), a run folder, or a `.ts`.

    trust: `.ts` files hold code that runs when they are read. sample_rate: for checkpoints without a config.
    Raises UserError where a file is missing, damaged, or of a kind that isn't supported (GRU, spherical, mel input).
    """
    source = _newest(source)
    if source.suffix == ".ts":
        state, facts = _read_script(source, trust)
    else:
        state, facts = _read_checkpoint(source), _read_gin(source)
    if sample_rate:
        facts["rate"] = sample_rate
    config = _config(state, facts, source)
    system = System(SystemConfig(codec=config))
    assert isinstance(system.codec, RaveCodec)
    _fill(system.codec, state, source)
    unknown = [f"{what} ({usual})" for what, usual, key in (
        ("sample rate", "44100 Hz", "rate"), ("dilations", "1, 3, 9", "dilations"), ("padding", "centred", "causal"))
        if key not in facts]
    return ImportedRave(system.eval().requires_grad_(False), unknown)


# Reading


def _newest(source: Path) -> Path:
    if source.is_dir():
        found = sorted(source.rglob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise UserError(f"{source} holds no .ckpt: give RAVE's run folder, a .ckpt or a .ts")
        return found[-1]
    if not source.is_file():
        raise UserError(f"{source} doesn't exist: give RAVE's run folder, a .ckpt or a .ts")
    return source


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} can't be read as a checkpoint of weights ({reason}): fetch it again, or "
                        "export it to .ts with acids-rave and import that with --trust") from error
    state = data.get("state_dict", data) if isinstance(data, dict) else None
    averaged = data.get("callbacks", {}).get("EMA", {}) if isinstance(data, dict) else {}
    if isinstance(state, dict) and isinstance(averaged, dict):
        state = state | averaged
    if not isinstance(state, dict) or not any(str(key).startswith("encoder.") for key in state):
        raise UserError(f"{path} is a checkpoint, but not RAVE's: it has no encoder")
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}


def _read_gin(path: Path) -> dict[str, Any]:
    """What config.gin says that the weights don't."""
    for folder in list(path.resolve().parents)[:4]:
        if (folder / "config.gin").is_file():
            text = (folder / "config.gin").read_text(encoding="utf-8")
            break
    else:
        return {}
    facts: dict[str, Any] = {"causal": "causal" in (_gin(text, r"[\w/]*(?:cc|convs)\.get_padding\.mode") or "")}
    if rate := _gin(text, "SAMPLING_RATE"):
        facts["rate"] = int(rate)
    if dilations := _gin(text, "DILATIONS"):
        facts["dilations"] = ast.literal_eval(dilations)
    return facts


def _gin(text: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*=\s*(\[.*?\]\]|\[.*?\]|\S+)\s*$", text.replace("\\\n", " "), re.M | re.S)
    return found.group(1) if found else None


def _read_script(path: Path, trust: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not trust:
        raise UserError(f"{path} holds code that runs when it is read: add --trust if you know where it comes from")
    try:
        script = torch.jit.load(str(path), map_location="cpu")
    except RuntimeError as error:
        raise UserError(f"{path} can't be read as TorchScript: fetch it again") from error
    state = dict(script.state_dict())
    if not any(key.startswith("encoder.encoder.") for key in state):
        raise UserError(f"{path} is TorchScript, but not of a RAVE: it has no encoder")
    facts: dict[str, Any] = {}
    if isinstance(rate := getattr(script, "sr", None), int):
        facts["rate"] = rate
    try:  # both kinds of convolution keep what they were padded by
        first = getattr(script.encoder.encoder.net, "0")
        facts["causal"] = first._pad[1] == 0 if hasattr(first, "_pad") else first.cumulative_delay == 0
    except AttributeError:
        pass
    return state, facts


# The configuration, from shapes


def _layers(state: Mapping[str, Tensor], prefix: str) -> list[Layer]:
    """Layers with weights under a prefix, in order."""
    layers: dict[str, Layer] = {}
    for key, value in state.items():
        if key.startswith(prefix):
            parent, _, name = key.rpartition(".")
            if name in ("weight", "weight_g", "weight_v", "bias", "running_mean", "running_var", "alpha"):
                name = {"original0": "weight_g", "original1": "weight_v"}.get(name, name)
                layers.setdefault(parent, {})[name] = value
    return list(layers.values())


def _kernel(layer: Layer) -> Tensor | None:
    kernel = layer.get("weight_v", layer.get("weight"))
    return kernel if kernel is not None and kernel.ndim == 3 else None


def _config(state: Mapping[str, Tensor], facts: dict[str, Any], path: Path) -> RaveConfig:
    if any(".gru." in key for key in state):
        raise UserError(f"{path} has a recurrent layer or a mel input (RAVE's hybrid), which isn't supported")
    encoder = [kernel for layer in _layers(state, "encoder.encoder.") if (kernel := _kernel(layer)) is not None]
    if not encoder or "pqmf.hk" not in state:
        raise UserError(f"{path} is not a RAVE over a filter bank (version 1, 2 or 3): its layers are unknown here")
    bands = state["pqmf.hk"].shape[0]
    channels = encoder[0].shape[1] // bands
    first = any(key.endswith("running_mean") for key in state)
    net = _first_net(state, encoder) if first else _second_net(state, encoder, facts, bands * channels)
    heard = next(k for layer in _layers(state, "decoder.net.") if (k := _kernel(layer)) is not None).shape[1]
    latents = len(state["latent_mean"])
    bottleneck = _bottleneck(state, encoder[-1].shape[0], latents, heard, path)
    return RaveConfig(sample_rate=facts.get("rate", 44_100), channels=channels, latents=latents, bands=bands,
                      causal=facts.get("causal", False), net=net, bottleneck=bottleneck)


def _first_net(state: Mapping[str, Tensor], encoder: list[Tensor]) -> RaveNetConfig:
    ratios = tuple((kernel.shape[2] - 1) // 2 for kernel in encoder[1:-1])
    noise = None
    if kernels := [k for layer in _layers(state, "decoder.synth.branches.2.") if (k := _kernel(layer)) is not None]:
        size = int(state["decoder.synth.branches.2.target_size"])
        waves = next(k for layer in _layers(state, "decoder.synth.branches.0") if (k := _kernel(layer)) is not None)
        noise = RaveNoiseConfig(ratios=(round(size ** (1 / len(kernels))),) * len(kernels),
                                bands=kernels[-1].shape[0] // waves.shape[0])
    return RaveV1Config(capacity=encoder[0].shape[0], ratios=ratios, noise=noise)


def _second_net(state: Mapping[str, Tensor], encoder: list[Tensor], facts: dict[str, Any],
                width: int) -> RaveNetConfig:
    ratios, units, count = [], [], 0
    for kernel in encoder[1:-1]:
        if kernel.shape[0] == 2 * kernel.shape[1]:
            ratios.append(kernel.shape[2] // 2)
            units.append(count // 2)
            count = 0
        else:
            count += 1
    dilations = facts.get("dilations") or [DILATIONS.get(n, tuple(3**i for i in range(n))) for n in units]
    noise = None
    if kernels := [k for layer in _layers(state, "decoder.noise_module.") if (k := _kernel(layer)) is not None]:
        noise = RaveNoiseConfig(ratios=tuple(k.shape[2] // 2 for k in kernels), hidden=kernels[0].shape[0],
                                bands=kernels[-1].shape[0] // width)
    return RaveV2Config(capacity=encoder[0].shape[0], ratios=tuple(ratios), kernel=(encoder[0].shape[2] - 1) // 2,
                        dilations=tuple(tuple(row) for row in dilations), noise=noise,
                        snake=any(key.endswith(".alpha") for key in state),
                        snake_units=any(key.endswith("branches.0.net.0.alpha") for key in state),
                        adain=any(key.endswith(".mean_x") and "fake" not in key for key in state))


def _bottleneck(state: Mapping[str, Tensor], given: int, latents: int, heard: int, path: Path) -> BottleneckConfig:
    books = [value for key, value in state.items() if key.endswith("_codebook.embed")]
    if books:
        return QuantisedConfig(codebooks=len(books), size=books[0].shape[0], noise=heard - latents)
    if given == 2 * latents:
        return VariationalConfig()
    if given == latents and heard > latents:
        return WassersteinConfig(noise=heard - latents)
    raise UserError(f"{path} has latents of a kind that isn't supported (spherical, or Wasserstein without noise)")


# Filling


@torch.no_grad()
def _fill(codec: RaveCodec, state: Mapping[str, Tensor], path: Path) -> None:
    _in_order([codec.encoder], _layers(state, "encoder.encoder."), path)
    decoder = codec.decoder
    if isinstance(decoder, DecoderV1):
        _in_order([decoder.body], _layers(state, "decoder.net."), path)
        heads: list[nn.Module | None] = [decoder.wave, decoder.loudness, decoder.noise]
        for i, head in enumerate(heads):
            if head is not None:
                _in_order([head], _layers(state, f"decoder.synth.branches.{i}"), path)
        decoder.awake.copy_(state.get("decoder.warmed_up", torch.tensor(1)))
    elif isinstance(decoder, DecoderV2) and decoder.noise is not None:
        _in_order([decoder.body], _layers(state, "decoder.net."), path)
        _in_order([decoder.wave], _layers(state, "decoder.waveform_module"), path)
        _in_order([decoder.noise], _layers(state, "decoder.noise_module."), path)
    elif isinstance(decoder, DecoderV2):
        _in_order([decoder.body, decoder.wave], _layers(state, "decoder.net."), path)
    pairs = [(codec.pqmf.filters, "pqmf.hk"), (codec.principal.centre, "latent_mean"),
             (codec.principal.components, "latent_pca"), (codec.principal.fidelity, "fidelity")]
    if isinstance(codec.bottleneck, Quantised):
        for i, book in enumerate(codec.bottleneck.quantiser.books):
            place = f"encoder.rvq.layers.{i}._codebook."
            pairs += [(getattr(book, ours), place + theirs)
                      for ours, theirs in (("codes", "embed"), ("sums", "embed_avg"), ("uses", "cluster_size"))]
    for target, key in pairs:
        _copy(target, state[key], path)


def _in_order(parts: list[nn.Module], layers: list[Layer], path: Path) -> None:
    kinds = (Weight, Snake, BatchNorm)
    targets = [module for part in parts for module in part.modules() if isinstance(module, kinds)]
    if len(targets) != len(layers):
        raise UserError(f"{path} has {len(layers)} layers where RAVE has {len(targets)}: it is of a version that isn't "
                        "supported")
    for target, layer in zip(targets, layers):
        if isinstance(target, Snake):
            _copy(target.alpha, layer["alpha"], path)
        elif isinstance(target, BatchNorm):
            for name in ("weight", "bias", "running_mean", "running_var"):
                _copy(getattr(target.norm, name), layer[name], path)
        elif "weight_v" in layer:
            _copy(target.direction, layer["weight_v"], path)
            _copy(target.gain, layer["weight_g"], path)
        else:
            _copy(target.direction, layer["weight"], path)
            if target.normed:
                target.gain.copy_(target.direction.norm(dim=(1, 2), keepdim=True))


def _copy(target: Tensor, value: Tensor, path: Path) -> None:
    if target.shape != value.shape:
        raise UserError(f"{path} has weights of the shape {tuple(value.shape)} where {tuple(target.shape)} belong: it "
                        "is of a version that isn't supported")
    if value.is_floating_point() and not math.isfinite(float(value.float().abs().sum())):
        raise UserError(f"{path} holds values that aren't numbers: the file is damaged, fetch it again")
    target.copy_(value)
