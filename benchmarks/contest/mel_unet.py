"""A step of the published 256x256 mel U-Net beside diffusers' UNet2DModel, as teticio's audio-diffusion calls it."""

from typing import Any

from contest.hugging_face import ENVIRONMENT
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks


def theirs(half: bool) -> Tasks:
    import torch
    from diffusers import UNet2DModel

    net = UNet2DModel(
        sample_size=256, in_channels=1, out_channels=1, layers_per_block=2, norm_num_groups=32,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4).eval()
    x: Any = torch.randn(1, 1, 256, 256)
    if half:
        net, x = net.to(torch.bfloat16).to(memory_format=torch.channels_last), x.bfloat16()
    return Tasks.of(net, step=lambda: net(x, 500).sample)


def ours(half: bool) -> Tasks:
    import torch

    from orchestrion.contracts import Conditioning, Continuous
    from orchestrion.nn.unet2d import UNet2dConfig

    net: Any = UNet2dConfig().build(Continuous(1, 43.0, 256), None).eval()
    x, t = torch.randn(1, 1, 256, 256), torch.tensor([0.501])
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        net = net.prepared()
    return Tasks.of(net, step=lambda: net(x, t, Conditioning()))


PAIR = Pair(
    title="Mel U-Net 256x256, 114M", peer="diffusers' UNet2DModel", work="one evaluation, 5.94 s of 22 kHz",
    environment=ENVIRONMENT, tasks={"step": 5.94}, note="the peer in bfloat16 is channels last, too",
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: ours(False), HALF: lambda: ours(True)}})
