"""Mel images turned into sound by a trained vocoder, HiFi-GAN (Kong et al. 2020), in place of phase recovery.

    audio ── mel image ──► z [b 1 f n] ── transposed convolutions ──► audio

Any mel image will do: the latents are the image's own, with its statistics, so a generator that was trained over the
image plays through the vocoder as it is.
"""

import torch
from torch import Tensor

from orchestrion.codecs.mel import MelCodec, MelCodecConfig, MelImageConfig
from orchestrion.contracts import Exact, Reconstruction
from orchestrion.errors import UserError
from orchestrion.nn.hifigan import HifiGanNetConfig

ONCE = 1024  # frames that the network turns into sound at a time, so that long clips take bounded memory


class HifiGanConfig(MelCodecConfig):
    image: MelCodecConfig = MelImageConfig()
    net: HifiGanNetConfig = HifiGanNetConfig()

    def build(self) -> "HifiGan":
        return HifiGan(self)


class HifiGan(MelCodec):
    def __init__(self, config: HifiGanConfig) -> None:
        image = config.image.build()
        if image.multiple_of != config.net.hop:
            raise UserError(f"HiFi-GAN's rates {config.net.rates} make {config.net.hop} samples of a column, and this "
                            f"mel image has one every {image.multiple_of}: choose rates that multiply to that")
        context = max(config.net.context, -(-image.size // image.multiple_of))
        super().__init__(image.space, image.sample_rate, 1, image.multiple_of, Exact(context))
        self.config, self.image, self.size = config, image, image.size
        self.net = config.net.build(len(image.filters))
        self.mean.copy_(image.mean)
        self.deviation.copy_(image.deviation)

    @property
    def vocoder(self) -> "HifiGan":
        """What a vocoder's objective trains."""
        return self

    def centres(self) -> Tensor:
        return self.image.centres()

    def analyse(self, audio: Tensor) -> Tensor:
        return self.image.analyse(audio)

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        image, frames, context = latents[:, 0], latents.shape[-1], self.config.net.context
        if torch.is_grad_enabled() or frames <= ONCE + 2 * context:
            return self.net(image)
        made = []
        for start in range(0, frames, ONCE):
            first, stop = max(start - context, 0), min(start + ONCE, frames)
            wave = self.net(image[..., first : min(stop + context, frames)])
            made.append(wave[..., (start - first) * self.multiple_of : (stop - first) * self.multiple_of])
        return torch.cat(made, -1)

    def forward(self, audio: Tensor) -> Reconstruction:
        with torch.no_grad():
            image = self.analyse(self.pad(audio))
        return Reconstruction(self.synthesise(image)[..., : audio.shape[-1]], image)
