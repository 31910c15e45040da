"""`orchestra` beside MusicGen-small (transformers): 1 s of sound from the same words, each with its own guidance."""

from contest.hugging_face import ENVIRONMENT
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks

SECONDS = 1.0
WORDS = "a calm piano piece in C major at 90 beats a minute"


def theirs(half: bool) -> Tasks:
    """MusicGen-small's published sizes: T5-base, 24 layers of 1024, EnCodec of 32 kHz."""
    import torch
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    words = T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12, d_kv=64, vocab_size=32_128)
    sound = EncodecConfig(sampling_rate=32_000, upsampling_ratios=[8, 5, 4, 4], num_filters=64, use_causal_conv=False,
                          norm_type="weight_norm", codebook_size=2048, codebook_dim=128, target_bandwidths=[2.2])
    tokens = MusicgenDecoderConfig(vocab_size=2048, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
                                   ffn_dim=4096, num_codebooks=4, audio_channels=1)
    model = MusicgenForConditionalGeneration(
        MusicgenConfig(text_encoder=words.to_dict(), audio_encoder=sound.to_dict(), decoder=tokens.to_dict())).eval()
    if half:
        model = model.to(torch.bfloat16)
    settings = model.generation_config
    settings.decoder_start_token_id = settings.bos_token_id = settings.pad_token_id = 2048
    settings.eos_token_id = None
    ids = torch.randint(3, 32_000, (1, len(WORDS.split()) + 4))

    def generate() -> None:
        made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, guidance_scale=3.0,
                              max_new_tokens=round(50 * SECONDS) + 3)
        assert made.shape[-1] >= 0.9 * SECONDS * 32_000, made.shape

    return Tasks.of(model, generate=generate)


def ours(dtype: str) -> Tasks:
    import orchestrion.systems  # noqa: F401  enters the pages into the table
    from orchestrion.contracts import Prompt
    from orchestrion.playing.model import Model
    from orchestrion.systems.folder import About
    from orchestrion.systems.system import find_system

    model = Model(find_system("orchestra").recipe("release").system.build(), About("orchestra"), device="cpu",
                  dtype=dtype)
    assert model.system.conditioner is not None
    model.system.conditioner.fit([Prompt(text=WORDS)])
    return Tasks.of(model.system, generate=lambda: model.generate(WORDS, duration=SECONDS, seed=0))


PAIR = Pair(
    title="MusicGen-small / orchestra", peer="transformers' MusicgenForConditionalGeneration",
    work=f"{SECONDS:g} s from words", environment=ENVIRONMENT, tasks={"generate": SECONDS}, same_size=False, rounds=3,
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: ours(FLOAT), HALF: lambda: ours(HALF)}},
    note="other networks; MusicGen makes 32 kHz, ours 44.1 kHz, both mono")
