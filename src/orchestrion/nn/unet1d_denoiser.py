"""Moûsai's U-Net as a diffusion model's network, over waveforms or latents, with text where the levels listen."""

import torch
from torch import Tensor

from orchestrion.contracts import Conditioner, Conditioning, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.denoiser import Denoiser, DenoiserConfig
from orchestrion.nn.unet1d import UNet1d, UNet1dConfig


class UNet1dDenoiserConfig(DenoiserConfig):
    levels: UNet1dConfig
    nulls: int = 0  # tokens of a learned embedding for no prompt; 0: the conditioner's null prompt stands for it

    def build(self, space: Continuous, conditioner: Conditioner | None) -> "UNet1dDenoiser":
        if space.bands is not None:
            raise UserError(f"a 1-D U-Net models waveforms and latents [b d n]; this codec makes {space}")
        return UNet1dDenoiser(self, space.channels, conditioner)


class UNet1dDenoiser(Denoiser):
    """x `[b d n]`, time `[b]` in 0 to 1, conditioning.sequence `[b l e]` -> `[b d n]`.

    A learned null embedding, as the authors' models over a frozen text encoder have it, is what guidance leads away
    from where no negative prompt is given.
    """

    def __init__(self, config: UNet1dDenoiserConfig, channels: int, conditioner: Conditioner | None) -> None:
        super().__init__()
        listens = any(config.levels.cross_attentions)
        if listens and (conditioner is None or "sequence" not in conditioner.fills):
            raise UserError("this U-Net listens to a prompt: give it a conditioner that fills the sequence, such as "
                            "TextEncoderConfig")
        self.accepts = frozenset({"sequence"}) if listens else frozenset()
        self.multiple_of = config.levels.multiple_of
        width = conditioner.width if listens and conditioner is not None else 0
        self.net = UNet1d(config.levels, channels, channels, width, nulls=config.nulls if listens else 0)

    def forward(self, x: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        return self.net(x, time, conditioning.sequence, conditioning.mask)

    def null(self, conditioning: Conditioning) -> Conditioning:
        if self.net.null is None or conditioning.sequence is None:
            return super().null(conditioning)
        count = len(conditioning.sequence)
        silent = [not negative for negative in conditioning.negated] or [True] * count
        return self.drop(conditioning.against or conditioning, torch.tensor(silent))

    def drop(self, conditioning: Conditioning, dropped: Tensor) -> Conditioning:
        if self.net.null is None or conditioning.sequence is None:
            return conditioning
        dropped = dropped.to(conditioning.sequence.device)
        mask = None if conditioning.mask is None else conditioning.mask | dropped[:, None]
        return Conditioning(sequence=self.net.without_prompt(conditioning.sequence, dropped), mask=mask)
