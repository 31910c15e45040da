"""Published AudioLDM pipelines (diffusers' AudioLDMPipeline: text_encoder, tokenizer, unet, vae, vocoder, scheduler)
into a model. Reading them needs neither diffusers nor transformers.

Their images are time by frequency, ours frequency by time: kernels are turned, and noise is drawn in their order.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrion.codecs.hifigan import HifiGanConfig
from orchestrion.codecs.log_mel import LogMelConfig
from orchestrion.codecs.mel_vae import MelVaeConfig
from orchestrion.conditioners.clap_words import ClapWords, ClapWordsConfig
from orchestrion.errors import UserError
from orchestrion.generators.diffusion import DiffusionConfig
from orchestrion.interchange.diffusers import (
    PREDICTIONS,
    attending,
    choose,
    fill,
    path_of,
    read_json,
    read_weights,
    refuse_unusual,
    size_of,
    vae_of,
)
from orchestrion.nn.hifigan import HifiGanNetConfig
from orchestrion.nn.unet2d import UNet2dConfig
from orchestrion.systems.system import System, SystemConfig

PEAK = 0.5  # to which AudioLDM's training clips are brought
WINDOW = 6.4  # hops: 1024 samples for their 160
STEPS, GUIDANCE = 10, 2.5  # of the pipeline's own call


def import_audioldm(folder: Path) -> tuple[System, dict[str, Any]]:
    """-> the system with the pipeline's weights, and the sampling options that it was published with."""
    unet = read_json(folder / "unet" / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    words = _words(read_json(folder / "text_encoder" / "config.json"), folder / "tokenizer" / "tokenizer_config.json")
    net = _net(unet, scheduler, words.joint)
    context = 2 * size_of(unet.get("sample_size"), (128, 128))[0]  # published ones say half of what they learned from
    clips = bool(scheduler.get("clip_sample", True))
    generator = DiffusionConfig(
        net=net, path=path_of(scheduler), parameterisation=choose(PREDICTIONS, scheduler, "prediction_type", "epsilon"),
        context=context, overlap=context // 4, noise="columns",
        limit=float(scheduler.get("clip_sample_range", 1.0)) if clips else None, keep_noise=True)
    vocoder, vae = read_json(folder / "vocoder" / "config.json"), read_json(folder / "vae" / "config.json")
    codec = MelVaeConfig(image=_vocoder(vocoder), vae=vae_of(vae))
    system = SystemConfig(codec=codec, conditioner=words, generator=generator).build()
    assert system.generator is not None
    fill(system.generator.get_submodule("net"), read_weights(folder / "unet"), folder / "unet", _turned)
    fill(system.codec.get_submodule("vae"), read_weights(folder / "vae"), folder / "vae", _turned)
    fill(system.codec.get_submodule("image.net"), read_weights(folder / "vocoder"), folder / "vocoder")
    _fill_words(system.conditioner, folder)
    return system.eval(), _options(scheduler)


def _turned(weight: Tensor) -> Tensor:
    """Kernels of images `[o i time frequency]` -> `[o i frequency time]`."""
    return weight.mT.contiguous() if weight.ndim == 4 else weight


def _options(scheduler: dict[str, Any]) -> dict[str, Any]:
    """DDIM as the pipeline calls it. Other schedulers of the same path are sampled by it too."""
    if scheduler.get("timestep_spacing", "leading") == "trailing":
        spacing = "even"
    else:
        spacing = "stable" if scheduler.get("steps_offset", 0) else "leading"
    return {"solver": "ddim", "steps": STEPS, "schedule": spacing, "cfg_scale": GUIDANCE}


def _net(config: dict[str, Any], scheduler: dict[str, Any], joint: int) -> UNet2dConfig:
    refuse_unusual(config, {
        "_class_name": "UNet2DConditionModel", "class_embed_type": "simple_projection", "class_embeddings_concat": True,
        "projection_class_embeddings_input_dim": joint, "use_linear_projection": False, "only_cross_attention": False,
        "dual_cross_attention": False, "transformer_layers_per_block": 1, "addition_embed_type": None,
        "encoder_hid_dim": None, "mid_block_type": "UNetMidBlock2DCrossAttn", "conv_in_kernel": 3,
        "conv_out_kernel": 3, "num_attention_heads": None, "time_embedding_dim": None})
    channels, heads = tuple(config["block_out_channels"]), config.get("attention_head_dim", 8)
    seen = config.get("cross_attention_dim", channels)
    if not isinstance(heads, int) or (tuple(seen) if isinstance(seen, list | tuple) else (seen,)) != channels:
        raise UserError("the pipeline's U-Net has heads or widths of attention level by level, which Orchestrion's has "
                        "not")
    return UNet2dConfig(channels=channels, attention=attending(config), layers=int(config.get("layers_per_block", 2)),
                        groups=int(config.get("norm_num_groups", 32)), head_width=heads,
                        padding=int(config.get("downsample_padding", 1)), vector=True, twice=True,
                        clock=float(scheduler.get("num_train_timesteps", 1000)))


def _vocoder(config: dict[str, Any]) -> HifiGanConfig:
    net = HifiGanNetConfig(
        channels=config["upsample_initial_channel"], rates=tuple(config["upsample_rates"]),
        kernels=tuple(config["upsample_kernel_sizes"]), blocks=tuple(config["resblock_kernel_sizes"]),
        dilations=tuple(map(tuple, config["resblock_dilation_sizes"])), slope=config.get("leaky_relu_slope", 0.1),
        standardised=bool(config.get("normalize_before", True)))
    window = 2 * round(WINDOW * net.hop / 2) + net.hop % 2
    return HifiGanConfig(net=net, image=LogMelConfig(sample_rate=int(config["sampling_rate"]), hop=net.hop,
                                                     bands=int(config["model_in_dim"]), size=window, peak=PEAK))


def _words(config: dict[str, Any], tokeniser: Path) -> ClapWordsConfig:
    refuse_unusual(config, {"hidden_act": "gelu", "projection_hidden_act": "relu", "layer_norm_eps": 1e-12})
    padding = int(config.get("pad_token_id", 1))
    places = config["max_position_embeddings"] - padding - 1
    read = read_json(tokeniser).get("model_max_length", places) if tokeniser.is_file() else places
    return ClapWordsConfig(vocabulary=config["vocab_size"], width=config["hidden_size"], padding=padding,
                           length=min(places, int(read)), depth=config["num_hidden_layers"],
                           heads=config["num_attention_heads"], inner=config["intermediate_size"],
                           joint=config["projection_dim"])


def _fill_words(tower: Any, folder: Path) -> None:
    assert isinstance(tower, ClapWords)
    place = folder / "text_encoder"
    state = read_weights(place)
    try:
        fill(tower, words_renamed(state.__getitem__, tower.config), place)
    except KeyError as error:
        raise UserError(f"the weights in {place} don't fit its config.json: {error} is missing") from error
    tower.take_tokeniser(_tokeniser(folder / "tokenizer"))


def words_renamed(theirs: Callable[[str], Tensor], config: ClapWordsConfig) -> dict[str, Tensor]:
    """Weights of transformers' ClapTextModelWithProjection, by name -> ours."""
    def pair(ours: str, name: str) -> dict[str, Tensor]:
        return {f"{ours}.{kind}": theirs(f"{name}.{kind}") for kind in ("weight", "bias")}

    embeddings = "text_model.embeddings"
    places = theirs(f"{embeddings}.position_embeddings.weight")[config.padding + 1 :][: config.length]
    made = {"words.weight": theirs(f"{embeddings}.word_embeddings.weight"),
            "places": places + theirs(f"{embeddings}.token_type_embeddings.weight")[:1]}  # there is but one kind
    made |= pair("enter", f"{embeddings}.LayerNorm") | pair("pool", "text_model.pooler.dense")
    made |= pair("project.0", "text_projection.linear1") | pair("project.2", "text_projection.linear2")
    for i in range(config.depth):
        ours, name = f"layers.layers.{i}", f"text_model.encoder.layer.{i}"
        for kind in ("weight", "bias"):
            made[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(
                [theirs(f"{name}.attention.self.{part}.{kind}") for part in ("query", "key", "value")])
        for here, there in (("self_attn.out_proj", "attention.output.dense"), ("linear1", "intermediate.dense"),
                            ("linear2", "output.dense"), ("norm1", "attention.output.LayerNorm"),
                            ("norm2", "output.LayerNorm")):
            made |= pair(f"{ours}.{here}", f"{name}.{there}")
    return made


def _tokeniser(folder: Path) -> Any:
    """`tokenizer.json`, or RoBERTa's vocabulary and merges."""
    from tokenizers import ByteLevelBPETokenizer, Tokenizer
    from tokenizers.processors import RobertaProcessing

    whole, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    try:
        if whole.is_file():
            return Tokenizer.from_str(whole.read_text(encoding="utf-8"))
        if not (vocabulary.is_file() and merges.is_file()):
            raise UserError(f"{folder} has no tokeniser: tokenizer.json, or vocab.json and merges.txt, is missing")
        made = ByteLevelBPETokenizer.from_file(str(vocabulary), str(merges))._tokenizer
        end, begin = (made.token_to_id(mark) for mark in ("</s>", "<s>"))
        made.post_processor = RobertaProcessing(("</s>", end), ("<s>", begin))
        return made
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the tokeniser in {folder} is damaged ({error}); take the pipeline from its source again") \
            from error
