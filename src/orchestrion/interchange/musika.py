"""Musika's published Keras weights into Orchestrion's `paper` system.

The authors keep each network in its own file, as `Model.save_weights` of Keras 2 writes it: enc.h5, dec.h5 (level 1),
enc2.h5, dec2.h5 (level 2), gen.h5, gen_ema.h5, critic.h5, and the penalty's switch in switch.npy. Generator and critic
name their layers; the codec's are numbered by the session that made them, so those are taken in the file's order, as
Keras does. Optimiser states (opt_*.npy) are pickles, which may run code: they are not read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from orchestrion.codecs.musika import Frames, Layer, MusikaCodec, MusikaCodecConfig, Upsample
from orchestrion.codecs.per_channel import PerChannelConfig
from orchestrion.errors import UserError
from orchestrion.generators.latent_gan import LatentGan, LatentGanConfig, Modulate, Stage
from orchestrion.nn.latent_critic import CriticBlock, LatentCritic
from orchestrion.systems.system import System, SystemConfig

CODEC_FILES = ("enc.h5", "dec.h5", "enc2.h5", "dec2.h5")
GAN_FILES = ("gen_ema.h5", "gen.h5", "critic.h5", "switch.npy")
KNOWN = (*CODEC_FILES, *GAN_FILES)

Targets = dict[str, nn.Module | nn.Parameter]
"""What each of Keras' layers fills, by its name."""


@dataclass
class ImportedMusika:
    """The system, with the averaged generator where there is one, and what training goes on from.

    objective: the critic's weights and the penalty's switch, as `LatentGanObjective.state_dict` has them; None
    without critic.h5.
    """

    system: System
    objective: dict[str, Tensor] | None


def import_musika(*sources: str | Path) -> ImportedMusika:
    """sources: files, or folders with files, of the authors' names; the four of the codec must be among them.

    Raises UserError where one is missing, damaged or of another shape.
    """
    files = _collect(sources)
    missing = [name for name in CODEC_FILES if name not in files]
    if missing:
        raise UserError(f"Musika's codec needs {', '.join(CODEC_FILES)}, and {', '.join(missing)} weren't found in "
                        f"{', '.join(map(str, sources))}: add the folder that holds them")
    codec_layers = {name: read_layers(files[name]) for name in CODEC_FILES}
    config = _codec_config(codec_layers["enc.h5"], codec_layers["enc2.h5"], files["enc2.h5"])
    generator_file = files.get("gen_ema.h5") or files.get("gen.h5")
    named = read_layers(generator_file) if generator_file else None
    generator = _generator_config(named, generator_file) if named and generator_file else None
    system = System(SystemConfig(codec=PerChannelConfig(mono=config), generator=generator))
    mono = system.codec.get_submodule("mono")
    assert isinstance(mono, MusikaCodec)
    for name, parts in _codec_parts(mono).items():
        _fill_in_order(parts, codec_layers[name], files[name])
    if named and generator_file:
        assert isinstance(system.generator, LatentGan)
        fill_generator(system.generator, named, generator_file)
    return ImportedMusika(system, _objective(system.generator, files))


def read_layers(path: Path) -> dict[str, list[np.ndarray]]:
    """The weights of every layer that has some, by name, in the file's order."""
    try:
        import h5py
    except ImportError as error:
        raise UserError("reading Keras files needs h5py: pip install 'orchestrion[keras]'") from error
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" not in root.attrs:
                raise UserError(f"{path} is HDF5 but not a Keras weight file (it has no layer_names): "
                                "give it as Model.save_weights of Keras 2 wrote it")
            layers = {}
            for name in map(_text, root.attrs["layer_names"]):
                arrays = [np.asarray(root[name][_text(w)], np.float32) for w in root[name].attrs["weight_names"]]
                if arrays:
                    layers[name] = arrays
            return layers
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(f"{path} can't be read as a Keras weight file ({error}): fetch it again") from error


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _collect(sources: Iterable[str | Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for source in map(Path, sources):
        if not source.exists():
            raise UserError(f"{source} doesn't exist: give the folder with Musika's .h5 files")
        found = [source] if source.is_file() else [source / name for name in KNOWN if (source / name).exists()]
        for path in found:
            if path.name not in KNOWN:
                raise UserError(f"{path} has none of the names that Musika's files have: {', '.join(KNOWN)}")
            files[path.name] = path
    return files


# Configurations, read from the shapes


def _codec_config(enc: dict[str, list[np.ndarray]], enc2: dict[str, list[np.ndarray]],
                  path: Path) -> MusikaCodecConfig:
    """In the authors' code one number, hop, is both the hop and the width of the layers."""
    first, last = list(enc.values()), list(enc2.values())
    bins, latents, width = first[0][0].shape[-2], last[-1][0].shape[-1], last[0][0].shape[-1]
    hop = (bins - 1) // 2
    if len(last) != 8 or hop != width:
        raise UserError(f"{path} isn't the encoder of Musika's 44.1 kHz version (the 22 kHz version has other layers "
                        "and isn't supported)")
    return MusikaCodecConfig(hop=hop, width=width, frame_latents=first[-1][0].shape[-1], latents=latents)


def _generator_config(layers: dict[str, list[np.ndarray]], path: Path) -> LatentGanConfig:
    if "8c" not in layers or "00ai" not in layers:
        raise UserError(f"{path} isn't a generator of Musika's 44.1 kHz version: its layers are called "
                        f"{', '.join(list(layers)[:4])} …")
    inputs = layers["00ai"][0].shape[-2]
    return LatentGanConfig(base_channels=layers["8c"][1].size // 2, latlen=128 if "0_smallc" in layers else 256,
                           coordinates=inputs // 2, style=inputs - inputs // 2)


# Codec: by order


def _codec_parts(codec: MusikaCodec) -> dict[str, list[nn.Module]]:
    """The layers of each file in Keras' order; a `Layer` stands for its convolution and for its noise's gain.

    Keras sorts by distance from the end, so in dec.h5 the two heads alternate, convolutions first.
    """
    one, two, d = codec.level1, codec.level2, codec.level1.decoder
    return {
        "enc.h5": [*one.encoder, one.bottleneck],
        "enc2.h5": [*two.encoder, two.bottleneck],
        "dec2.h5": [*two.decoder, two.leave],
        "dec.h5": [d.enter, d.down1, d.down2, d.down3, d.up2, Pair(d.up1, d.phase1), Pair(d.up0, d.phase0),
                   d.level, d.phase],
    }


class Pair(nn.Module):
    """Two layers at the same distance from the end."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.both = (first, second)


def _flat(parts: Iterable[nn.Module]) -> Iterator[nn.Module | nn.Parameter]:
    """Convolutions and gains in Keras' order."""
    for part in parts:
        layers = part.both if isinstance(part, Pair) else (part,)
        yield from (layer.convolution if isinstance(layer, Layer) else layer for layer in layers)
        yield from (layer.gain for layer in layers if isinstance(layer, Layer) and layer.gain is not None)


def _fill_in_order(parts: Iterable[nn.Module], layers: dict[str, list[np.ndarray]], path: Path) -> None:
    targets = list(_flat(parts))
    if len(targets) != len(layers):
        raise UserError(f"{path} has {len(layers)} layers with weights, and Musika's 44.1 kHz version has "
                        f"{len(targets)} there")
    for target, (name, arrays) in zip(targets, layers.items()):
        fill(target, arrays, f"{path}, layer {name}")


# Generator and critic: by name


def fill_generator(generator: LatentGan, layers: dict[str, list[np.ndarray]], path: Path) -> None:
    net = generator.net
    targets: Targets = {"00d": net.enter} | _modulation("00", net.modulate, noise="00n")
    for i, stage in enumerate(net.stages):
        assert isinstance(stage, Stage)
        small = "" if stage.doubles else "_small"
        targets |= {f"{2 * i}{small}c": stage.first[0], f"{2 * i + 1}{small}c": stage.second,
                    f"res{i + 1}c{small}": stage.shortcut}
        targets |= _modulation(f"{2 * i}{small}", stage.first_modulate)
        targets |= _modulation(f"{2 * i + 1}{small}", stage.second_modulate)
    last = 2 * len(net.stages)
    targets |= {f"{last}c": net.last[0], f"{last + 1}c": net.leave} | _modulation(f"{last}", net.last_modulate)
    _fill_by_name(targets, layers, path)


def _modulation(name: str, part: Modulate, noise: str | None = None) -> Targets:
    return {noise or f"{name}r": part.gain, f"{name}ai": part.scale}


def fill_critic(critic: LatentCritic, layers: dict[str, list[np.ndarray]], path: Path) -> None:
    targets: Targets = {"1c": critic.enter, "7c": critic.mix, "7d": critic.leave}
    for i, block in enumerate(critic.blocks, start=2):
        assert isinstance(block, CriticBlock)
        targets |= {f"{i}c0": block.first, f"{i}c1": block.second}
        if isinstance(block.shortcut, nn.Conv1d):
            targets[f"{i}c3"] = block.shortcut
    _fill_by_name(targets, layers, path)


def _fill_by_name(targets: Targets, layers: dict[str, list[np.ndarray]], path: Path) -> None:
    missing, unknown = targets.keys() - layers.keys(), layers.keys() - targets.keys()
    if missing or unknown:
        names = ", ".join(sorted(missing or unknown))
        raise UserError(f"{path} {'lacks the layers' if missing else 'has unknown layers'} {names}: it isn't of "
                        "Musika's 44.1 kHz version, or of another size than its generator")
    for name, target in targets.items():
        fill(target, layers[name], f"{path}, layer {name}")


def _objective(generator: object, files: dict[str, Path]) -> dict[str, Tensor] | None:
    if not isinstance(generator, LatentGan) or "critic.h5" not in files:
        return None
    critic = generator.critic()
    fill_critic(critic, read_layers(files["critic.h5"]), files["critic.h5"])
    switch = torch.tensor(-1.0)
    if "switch.npy" in files:
        try:
            switch = torch.tensor(float(np.load(files["switch.npy"], allow_pickle=False)))
        except (ValueError, OSError, TypeError) as error:
            raise UserError(f"{files['switch.npy']} isn't one number in NumPy's format ({error}): leave it out to "
                            "begin with the full penalty") from error
    return {**{f"critic.{k}": v for k, v in critic.state_dict().items()}, "switch": switch.clamp(-1, 0),
            "certainty": torch.tensor(0.5)}


# One layer


@torch.no_grad()
def fill(target: nn.Module | nn.Parameter, arrays: Sequence[np.ndarray], where: str) -> None:
    """Copies one Keras layer's weights: kernels `[1 taps in out]`, transposed ones `[1 taps out in]`, dense ones
    `[in out]`, biases `[out]`, a noise's gain `[1]`."""
    kernel, *bias = [torch.from_numpy(array.copy()) for array in arrays]
    pairs: list[tuple[Tensor, Tensor]]
    if isinstance(target, nn.Parameter):
        pairs = [(target, kernel)]
    elif isinstance(target, Frames):
        pairs = [(target.kernel, _squeeze(kernel, where).flatten(0, 1))]
    elif isinstance(target, Upsample):
        taps = _squeeze(kernel, where).mT
        if len(taps) != 4:
            raise UserError(f"{where} has {len(taps)} taps where 4 belong")
        pairs = [(target.even, taps[[3, 1]].flatten(0, 1)), (target.odd, taps[[2, 0]].flatten(0, 1))]
    elif isinstance(target, nn.Linear):
        pairs = [(target.weight, kernel.mT)]
    elif isinstance(target, nn.Conv1d | nn.ConvTranspose1d):
        pairs = [(target.weight, _squeeze(kernel, where).permute(2, 1, 0))]
    else:
        raise TypeError(f"no Keras layer fits a {type(target).__name__}")
    if not isinstance(target, nn.Parameter) and target.bias is not None:
        pairs += [(target.bias, b) for b in bias]
    wanted = 1 if isinstance(target, nn.Parameter) or target.bias is None else 2
    if len(arrays) != wanted or any(ours.shape != theirs.shape for ours, theirs in pairs):
        raise UserError(f"{where} has weights of the shapes {[a.shape for a in arrays]}, which don't fit "
                        f"{[tuple(ours.shape) for ours, _ in pairs]}")
    if not all(theirs.isfinite().all() for _, theirs in pairs):
        raise UserError(f"{where} holds values that aren't numbers: the file is damaged, fetch it again")
    for ours, theirs in pairs:
        ours.copy_(theirs)


def _squeeze(kernel: Tensor, where: str) -> Tensor:
    if kernel.ndim != 4 or kernel.shape[0] != 1:
        raise UserError(f"{where} has a kernel of the shape {tuple(kernel.shape)} where [1 taps in out] belongs")
    return kernel[0]
