"""AudioLDM-S at the published sizes beside diffusers' and transformers' parts of it: a step of the U-Net with guidance,
the image's decoder and the vocoder, 2.56 s of 16 kHz mono. Its CLAP is transformers' on both sides, and not raced.
"""

from typing import Any

from contest.hugging_face import ENVIRONMENT
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks

FRAMES, SECONDS = 64, 2.56  # latent frames, of four mel frames each


def theirs(half: bool) -> Tasks:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    net: Any = UNet2DConditionModel(
        sample_size=128, in_channels=8, out_channels=8, block_out_channels=(128, 256, 384, 640), layers_per_block=2,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",), cross_attention_dim=(128, 256, 384, 640),
        attention_head_dim=8, class_embed_type="simple_projection", projection_class_embeddings_input_dim=512,
        class_embeddings_concat=True).eval()
    vae: Any = AutoencoderKL(
        in_channels=1, out_channels=1, block_out_channels=(128, 256, 512), layers_per_block=2, latent_channels=8,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3).eval()
    vocoder: Any = SpeechT5HifiGan(SpeechT5HifiGanConfig(
        model_in_dim=64, sampling_rate=16_000, upsample_initial_channel=1024, upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4], normalize_before=False)).eval()
    dtype = torch.bfloat16 if half else torch.float32
    if half:
        net, vae, vocoder = net.to(dtype), vae.to(dtype), vocoder.to(dtype)
        net, vae = (part.to(memory_format=torch.channels_last) for part in (net, vae))
    z, words = torch.randn(2, 8, FRAMES, 16).to(dtype), torch.randn(2, 512).to(dtype)
    mel = torch.randn(1, 4 * FRAMES, 64).to(dtype)
    return Tasks.of(net, vae, vocoder, step=lambda: net(z, 500, None, class_labels=words).sample,
                    image=lambda: vae.decode(z[:1]).sample, vocoder=lambda: vocoder(mel))


def ours(half: bool) -> Tasks:
    import torch

    from orchestrion.contracts import Conditioning
    from orchestrion.nn.unet2d import UNet2d
    from orchestrion.systems.audioldm import CODECS, GENERATORS

    codec: Any = CODECS["paper"].build().eval()
    net: Any = UNet2d(GENERATORS["paper"].net, 8, 512).eval()
    z, words = torch.randn(2, 8, 16, FRAMES), Conditioning(vector=torch.randn(2, 512))
    mel, time = torch.randn(1, 64, 4 * FRAMES), torch.tensor([0.5, 0.5])
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        net = net.prepared()
    return Tasks.of(net, codec, step=lambda: net(z, time, words), image=lambda: codec.vae.decode(z[:1]),
                    vocoder=lambda: codec.image.net(mel)).autocast(half)


PAIR = Pair(
    title="AudioLDM-S", peer="diffusers' UNet2DConditionModel and AutoencoderKL, transformers' SpeechT5HifiGan",
    work=f"{SECONDS:g} s of 16 kHz mono", environment=ENVIRONMENT, rounds=3,
    tasks={"step": SECONDS, "image": SECONDS, "vocoder": SECONDS}, note="the peer in bfloat16 is channels last, too",
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: ours(False), HALF: lambda: ours(True)}})
