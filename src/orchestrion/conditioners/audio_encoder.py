"""What a piece of sound is like, in 100 numbers: the audio encoder of audio-diffusion's conditional variant.

    audio ── slices ── mel images, 0 to 1 ── [separable conv, leaky ReLU, norm, ÷2]·3 ── dense ──► mean over slices

teticio's AudioEncoder, weight by weight (audiodiffusion/audio_encoder.py; published as teticio/audio-encoder, where it
had learned which songs stand in the same playlists). Here it may also learn along with the generator.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError


class AudioEncoderConfig(ConditionerConfig):
    sample_rate: int = 22_050
    bands: int = 96
    columns: int = 216  # of a slice's image
    size: int = 2048  # window, samples
    hop: int = 512  # samples
    depth: float = 80.0  # dB from white to black; each slice is scaled to its own loudest moment
    widths: tuple[int, ...] = (32, 64, 128)
    hidden: int = 1024
    width: int = 100  # e, of what it tells

    def build(self) -> "AudioEncoder":
        return AudioEncoder(self)


class AudioEncoder(Conditioner):
    """Fills `sequence` `[b 1 e]` from the prompts' audio `[c t]` at `sample_rate`; a prompt without any is zeros."""

    fills = frozenset({"sequence"})
    hears = frozenset()  # no words
    filters: Tensor
    window: Tensor

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        smaller = 2 ** len(config.widths)
        if config.bands % smaller or config.columns % smaller:
            raise UserError(f"an audio encoder of {len(config.widths)} blocks takes images whose bands and columns are "
                            f"multiples of {smaller}, not {config.bands} and {config.columns}")
        self.config, self.width, self.sample_rate = config, config.width, config.sample_rate
        self.samples = config.columns * config.hop - 1  # of a slice
        self.conv_blocks = nn.ModuleList(
            ConvBlock(inputs, width, 0.1 * (i + 2))
            for i, (inputs, width) in enumerate(zip((1, *config.widths), config.widths)))
        places = (config.bands // smaller) * (config.columns // smaller)
        self.dense_block = DenseBlock(places * config.widths[-1], config.hidden)
        self.embedding = nn.Linear(config.hidden, config.width)
        filters = mel_filterbank(config.sample_rate, config.size, config.bands)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(config.size), persistent=False)

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        told = self.embedding.weight.new_zeros(len(prompts), 1, self.width)
        heard = [i for i, prompt in enumerate(prompts) if prompt.audio is not None]
        if heard:
            clips = [prompt.audio for prompt in prompts if prompt.audio is not None]
            told = told.index_copy(0, torch.tensor(heard, device=told.device), self.hear(clips)[:, None].to(told))
        return Conditioning(sequence=told)

    def hear(self, clips: Sequence[Tensor]) -> Tensor:
        """Clips `[c t]` -> `[b e]`, each the mean over its slices."""
        images = [self.images(clip.to(self.filters).mean(0)) for clip in clips]
        x = torch.cat(images)[:, None]
        if self.training and len(x) == 1:  # the norms need something to compare with
            x = x.expand(2, -1, -1, -1)
        for block in self.conv_blocks:
            x = block(x)
        told = self.embedding(self.dense_block(x))[: sum(map(len, images))]
        return torch.stack([part.mean(0) for part in told.split([len(image) for image in images])])

    @torch.no_grad()
    def images(self, audio: Tensor) -> Tensor:
        """mono `[t]` -> images of its whole slices `[slices bands columns]`, 0 to 1; silence makes up a first one."""
        least = self.samples + 1
        audio = nn.functional.pad(audio, (0, max(0, least - len(audio))))
        slices = audio[: len(audio) // self.samples * self.samples].view(-1, self.samples)
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(slices.float(), self.config.size, self.config.hop, window=self.window,
                                  pad_mode="constant", return_complex=True)
            power = (self.filters @ spectrum.abs().square()).clamp_min(1e-10)
            level = 10 * (power / power.amax((1, 2), keepdim=True)).log10()
        return ((level / self.config.depth + 1).clamp(0, 1) * 255).round() / 255  # as the images' bytes have it


class ConvBlock(nn.Module):
    """`[b in f n]` -> `[b out f/2 n/2]`."""

    def __init__(self, inputs: int, width: int, dropped: float) -> None:
        super().__init__()
        self.sep_conv = nn.Module()
        self.sep_conv.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.sep_conv.pointwise = nn.Conv2d(inputs, width, 1)
        self.batch_norm = nn.BatchNorm2d(width, eps=1e-3)
        self.dropout = nn.Dropout(dropped)

    def forward(self, x: Tensor) -> Tensor:
        x = self.sep_conv.pointwise(self.sep_conv.depthwise(x))  # type: ignore[operator]
        return self.dropout(nn.functional.max_pool2d(self.batch_norm(nn.functional.leaky_relu(x, 0.2)), 2))


class DenseBlock(nn.Module):
    """`[b c f n]`, read place by place, -> `[b width]`."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.batch_norm = nn.BatchNorm1d(width, eps=1e-3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.dense(x.permute(0, 2, 3, 1).flatten(1)), 0.2)
        return self.dropout(self.batch_norm(x))
