"""Mel images through a variational autoencoder: latents an eighth as high and as wide, as latent audio-diffusion has.

    audio ── mel image ── encoder ──► z [b d f/8 n/8] ── decoder ── mel image ── phase recovery or vocoder ──► audio
"""

import torch
from torch import Tensor, nn

from orchestrion.codecs.mel import LONGEST, MelCodecConfig, MelImageConfig
from orchestrion.contracts import Codec, CodecConfig, Continuous, Reconstruction, Windowed
from orchestrion.errors import UserError
from orchestrion.nn.vae2d import Vae2dConfig


class MelVaeConfig(CodecConfig):
    image: MelCodecConfig = MelImageConfig()  # with its way back to sound: phase recovery, or a vocoder
    vae: Vae2dConfig = Vae2dConfig()

    def build(self) -> "MelVae":
        return MelVae(self)


class MelVae(Codec):
    def __init__(self, config: MelVaeConfig) -> None:
        vae, image = config.vae.build(1), config.image.build()
        bands = len(image.centres())
        if bands % vae.stride:
            raise UserError(f"this autoencoder takes images of a multiple of {vae.stride} bands, not {bands}")
        rate = image.sample_rate / image.multiple_of / vae.stride
        super().__init__(Continuous(config.vae.latents, rate, bands // vae.stride), image.sample_rate, 1,
                         multiple_of=image.multiple_of * vae.stride, chunking=Windowed(round(LONGEST * rate)))
        self.config, self.image, self.vae = config, image, vae

    @property
    def vocoder(self) -> nn.Module | None:
        """What a vocoder's objective trains, where there is one."""
        return getattr(self.image, "vocoder", None)

    def centres(self) -> Tensor:
        """In Hz `[f]`: the highest band of each row of latents."""
        return self.image.centres().unflatten(0, (-1, self.vae.stride))[:, -1]

    def analyse(self, audio: Tensor) -> Tensor:
        return self.config.vae.scaling * self.vae.encode(self.image.analyse(audio)).mean.float()

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        return self.image.synthesise(self.vae.decode(latents / self.config.vae.scaling).float())

    def forward(self, audio: Tensor) -> Reconstruction:
        """Without sound: `audio` is empty, phases would teach nothing. image: mean absolute error of the image, in
        units of its height from -1 to 1; divergence: KL from N(0, 1), a clip."""
        wanted = self.image.analyse(self.pad(audio))
        posterior = self.vae.encode(wanted)
        made = self.vae.decode(posterior.sample())
        losses = {"image": (made.float() - wanted).abs().mean(), "divergence": posterior.divergence()}
        return Reconstruction(audio[..., :0], posterior.mean, losses)
