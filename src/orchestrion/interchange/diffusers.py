"""Published audio-diffusion pipelines (diffusers' folder layout) into a model: model_index.json, unet, scheduler, mel,
and vqvae where the diffusion is latent. Reading them needs neither diffusers nor code of theirs.

What AudioLDM's pipelines have besides is in `audioldm.py`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrion.codecs.mel import MelImageConfig
from orchestrion.codecs.mel_vae import MelVaeConfig
from orchestrion.conditioners.audio_encoder import AudioEncoderConfig
from orchestrion.contracts import CodecConfig
from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.nn.unet2d import UNet2dConfig
from orchestrion.nn.vae2d import Vae2dConfig
from orchestrion.sampling.parameterisations import Parameterisation, PredictsData, PredictsNoise, PredictsV
from orchestrion.sampling.paths import Cosine, Linear, ScaledLinear, VariancePreserving
from orchestrion.systems.system import System, SystemConfig

INDEX = "model_index.json"
HUB = "hf:"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.bin",
           "pytorch_model.bin")  # diffusers' and transformers'
PIPELINES = ("AudioDiffusionPipeline", "LatentAudioDiffusionPipeline")
AUDIOLDM = "AudioLDMPipeline"
ENCODER, PUBLISHED_ENCODER = "audio_encoder", "hf:teticio/audio-encoder"
PREDICTIONS: dict[str, Parameterisation] = {"epsilon": PredictsNoise(), "sample": PredictsData(),
                                            "v_prediction": PredictsV()}
EXTRA = "_extra_state"  # what is no weight: a tokeniser
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # before diffusers 0.17


def is_pipeline(source: str | Path) -> bool:
    """A pipeline's folder, or a name on the Hub."""
    return str(source).startswith(HUB) or (Path(source) / INDEX).is_file()


def fetch_pipeline(source: str) -> Path:
    """A folder as it is, or what `hf:owner/name` has on the Hub, without the weights that aren't needed."""
    if not source.startswith(HUB):
        return Path(source)
    from huggingface_hub import snapshot_download

    try:
        wanted = ["*.json", "*/merges.txt", *WEIGHTS, *(f"*/{name}" for name in WEIGHTS)]
        found = snapshot_download(source.removeprefix(HUB), allow_patterns=wanted)
    except Exception as error:
        raise UserError(f"{source} can't be fetched ({type(error).__name__}): check the name and the network, or give "
                        "the folder of a copy") from error
    return Path(found)


def import_pipeline(folder: str | Path) -> tuple[System, dict[str, Any]]:
    """-> the system with the pipeline's weights, and the sampling options that it was published with.

    Raises UserError where it is another kind of pipeline, or a part is missing, damaged or of another shape.
    """
    folder = Path(folder)
    try:
        return _import(folder)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the pipeline in {folder} is not whole, or damaged ({type(error).__name__}: {error}); take it "
                        "from its source again") from error


def _import(folder: Path) -> tuple[System, dict[str, Any]]:
    index = read_json(folder / INDEX)
    kind = index.get("_class_name")
    if kind == AUDIOLDM:
        from orchestrion.interchange.audioldm import import_audioldm

        return import_audioldm(folder)
    if kind not in PIPELINES:
        raise UserError(f"{folder} holds a {kind}; of diffusers' pipelines only {PIPELINES[0]} and {AUDIOLDM} can be "
                        "imported")
    unet = read_json(folder / "unet" / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    net, latent = _unet(unet, scheduler), (folder / "vqvae").is_dir()
    codec: CodecConfig = _mel(folder, unet, latent)
    width = size_of(unet.get("sample_size"), (256, 256))[1]
    clips = bool(scheduler.get("clip_sample", True))
    generator = DiffusionConfig(
        net=net, path=path_of(scheduler), parameterisation=choose(PREDICTIONS, scheduler, "prediction_type", "epsilon"),
        context=width, overlap=max(net_multiple(net), width // 4),
        limit=float(scheduler.get("clip_sample_range", 1.0)) if clips else None,
        keep_noise=scheduler.get("_class_name") == "DDIMScheduler")
    hearing = AudioEncoderConfig(width=net.cross) if net.cross else None
    system = SystemConfig(codec=codec, conditioner=hearing, generator=generator).build()
    assert system.generator is not None
    if system.conditioner is not None:
        encoder = _encoder(folder)
        fill(system.conditioner, read_weights(encoder), encoder)
    fill(system.generator.get_submodule("net"), read_weights(folder / "unet"), folder / "unet")
    if latent:
        fill(system.codec.get_submodule("vae"), read_weights(folder / "vqvae"), folder / "vqvae")
    return system.eval(), _options(scheduler)


def net_multiple(net: UNet2dConfig) -> int:
    return 2 ** (len(net.channels) - 1)


def _options(scheduler: dict[str, Any]) -> dict[str, Any]:
    """DDPM goes through every level, in this order; DDIM through 50 of them, as the pipeline does by itself."""
    spacing = "even" if scheduler.get("timestep_spacing") == "trailing" else "leading"
    if scheduler.get("_class_name") == "DDIMScheduler":
        return {"solver": "ddim", "steps": 50, "schedule": spacing}
    return {"solver": "ddpm", "steps": int(scheduler.get("num_train_timesteps", 1000)), "schedule": spacing}


def path_of(scheduler: dict[str, Any]) -> VariancePreserving:
    steps, zero = int(scheduler.get("num_train_timesteps", 1000)), bool(scheduler.get("rescale_betas_zero_snr", False))
    first, last = float(scheduler.get("beta_start", 1e-4)), float(scheduler.get("beta_end", 0.02))
    paths = {"linear": Linear(steps=steps, zero_terminal=zero, first=first, last=last),
             "scaled_linear": ScaledLinear(steps=steps, zero_terminal=zero, first=first, last=last),
             "squaredcos_cap_v2": Cosine(steps=steps, zero_terminal=zero)}
    return choose(paths, scheduler, "beta_schedule", "linear")


def _unet(config: dict[str, Any], scheduler: dict[str, Any]) -> UNet2dConfig:
    name = config.get("_class_name")
    if name not in ("UNet2DModel", "UNet2DConditionModel"):
        raise UserError(f"the pipeline's U-Net is a {name}; only UNet2DModel and UNet2DConditionModel can be imported")
    told = name == "UNet2DConditionModel"
    refuse_unusual(config, {"use_linear_projection": False, "transformer_layers_per_block": 1, "class_embed_type": None,
                            "mid_block_type": "UNetMidBlock2DCrossAttn", "only_cross_attention": False,
                            "dual_cross_attention": False} if told else {"add_attention": True})
    return UNet2dConfig(channels=tuple(config["block_out_channels"]), attention=attending(config),
                        layers=int(config.get("layers_per_block", 2)), groups=int(config.get("norm_num_groups", 32)),
                        head_width=int(config.get("attention_head_dim") or 8),
                        padding=int(config.get("downsample_padding", 1)),
                        cross=int(config["cross_attention_dim"]) if told else None,
                        clock=float(scheduler.get("num_train_timesteps", 1000)))


def _encoder(folder: Path) -> Path:
    """A conditional pipeline's audio encoder, which is published apart: its place in the folder, or from the Hub."""
    if (folder / ENCODER).is_dir():
        return folder / ENCODER
    try:
        return fetch_pipeline(PUBLISHED_ENCODER)
    except UserError as error:
        raise UserError(f"this pipeline listens by an audio encoder that is published apart ({PUBLISHED_ENCODER}), and "
                        f"can't be fetched: put a copy into {folder / ENCODER}") from error


def refuse_unusual(config: dict[str, Any], usual: dict[str, Any]) -> None:
    """Raises UserError where a network's config has what Orchestrion's does not know: `usual`, and what both of
    diffusers' U-Nets have in common."""
    common = {"act_fn": "silu", "resnet_time_scale_shift": "default", "time_embedding_type": "positional",
              "freq_shift": 0, "flip_sin_to_cos": True, "center_input_sample": False, "norm_eps": 1e-5,
              "mid_block_scale_factor": 1, "downsample_type": "conv", "upsample_type": "conv"}
    for key, value in (common | usual).items():
        if config.get(key, value) not in (value, None):
            raise UserError(f"the pipeline's {config.get('_class_name', 'network')} has {key} {config[key]!r}, which "
                            f"Orchestrion's does not know (only {value!r})")


def attending(config: dict[str, Any]) -> tuple[bool, ...]:
    """At which levels a U-Net attends."""
    down, up = ([("Attn" in block) for block in config[name]] for name in ("down_block_types", "up_block_types"))
    if up[::-1] != down:
        raise UserError("the pipeline's U-Net attends at other levels on its way up than down, which can't be imported")
    return tuple(down)


def _mel(folder: Path, unet: dict[str, Any], latent: bool) -> CodecConfig:
    path = folder / "mel" / "mel_config.json"
    mel = read_json(path) if path.is_file() else {}
    height = size_of(unet.get("sample_size"), (256, 256))[0]
    vae = read_json(folder / "vqvae" / "config.json") if latent else {}
    stride = 2 ** (len(vae["block_out_channels"]) - 1) if latent else 1
    bands = int(mel.get("y_res", height * stride))
    image = MelImageConfig(sample_rate=int(mel.get("sample_rate", 22_050)), bands=bands,
                           size=int(mel.get("n_fft", 2048)), hop=int(mel.get("hop_length", 512)),
                           depth=float(mel.get("top_db", 80)), own_peak=True)
    if not latent:
        return image
    return MelVaeConfig(image=image, vae=vae_of(vae))


def vae_of(config: dict[str, Any]) -> Vae2dConfig:
    return Vae2dConfig(
        channels=tuple(config["block_out_channels"]), layers=int(config.get("layers_per_block", 2)),
        latents=int(config["latent_channels"]), groups=int(config.get("norm_num_groups", 32)),
        scaling=float(config.get("scaling_factor", 0.18215)))


def fill(module: torch.nn.Module, state: dict[str, Tensor], folder: Path,
         change: Callable[[Tensor], Tensor] = lambda value: value) -> None:
    """Loads a part's weights, each changed, whatever diffusers called its attention at the time. folder: of the
    weights, for errors."""
    wanted = module.state_dict()
    renamed = {}
    for name, value in state.items():
        name = ".".join(OLD_ATTENTION.get(part, part) for part in name.split("."))
        if name in wanted and value.shape != wanted[name].shape and value.numel() == wanted[name].numel():
            value = value.reshape(wanted[name].shape)  # attention was made of 1×1 convolutions once
        renamed[name] = change(value)
    if EXTRA in wanted:
        renamed[EXTRA] = wanted[EXTRA]
    try:
        module.load_state_dict(renamed)
    except RuntimeError as error:
        raise UserError(f"the weights in {folder} don't fit its config.json: {' '.join(str(error).split())[:200]}") \
            from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    for name in WEIGHTS:
        path = folder / name
        if not path.is_file():
            continue
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                return load_file(path)
            return torch.load(path, map_location="cpu", weights_only=True)  # never runs what a file brings along
        except Exception as error:
            raise UserError(f"{path} is damaged ({error}); take the pipeline from its source again") from error
    raise UserError(f"{folder} has no weights: {' or '.join(WEIGHTS)} is missing")


def read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: the pipeline is not whole") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); take the pipeline from its source again") from error


def choose(known: dict[str, Any], config: dict[str, Any], key: str, default: str) -> Any:
    name = config.get(key, default)
    if name not in known:
        raise UserError(f"the pipeline's scheduler has {key} {name!r}; known are {', '.join(known)}")
    return known[name]


def size_of(size: Any, default: tuple[int, int]) -> tuple[int, int]:
    """sample_size: None, one number, or height and width."""
    if size is None:
        return default
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
