"""The spectral codec: spectrogram in, magnitude and phase out, one vector every 2048 samples.

    audio ── middle, side ── STFT ──► linear + ConvNeXt ÷4 ConvNeXt ──► z [b d n]
    z ── linear + ConvNeXt ×4 ConvNeXt ──► magnitude, phase ── inverse STFT ──► audio

The idea is Musika's first level (Pasini & Schlüter 2022) with Vocos's blocks and head (Siuzdak 2023). A steady
tone of any pitch looks the same in every frame of a magnitude spectrogram, so a convolutional decoder that
sees only magnitudes has nothing to hold its phase to and smears the partials. So the encoder also sees the
phase of the lower bins, and both sides speak of phase on one clock (`AlignedSTFT`), where it turns slowly.

The linear paths are the principal components of the log magnitudes; the networks learn what these leave. From random
weights alone, training stays for thousands of steps at what one component explains, the loudness.
"""

from collections.abc import Iterable, Iterator

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import pad

from orchestrion.audio.aligned import AlignedSTFT
from orchestrion.audio.phases import agreeing
from orchestrion.contracts import Codec, CodecConfig, Continuous, Exact, Reconstruction
from orchestrion.errors import UserError
from orchestrion.nn.convnext import ConvNeXtStack

FLOOR = 1e-4  # amplitude of a full-scale sine that counts as silence: -80 dB
LOUDEST = 2.0  # log magnitude that the decoder can't exceed
AT_ONCE = 128  # frames whose spectra are made at a time: a multiple of size / hop
LOWER = 4  # phases are made to agree in the lowest of so many parts of the spectrum, at so many times less a rate,
EDGE = 8  # but for its highest bins, at the edge of what that rate can tell


class SpectralCodecConfig(CodecConfig):
    sample_rate: int = 44_100
    channels: int = 2  # 1 or 2; two are coded as middle and side
    latents: int = 96
    size: int = 2048  # window, samples
    hop: int = 512  # samples
    stride: int = 4  # frames per latent
    width: int = 384  # at frame rate
    depth: int = 6  # blocks at frame rate, in the decoder; the encoder has half as many
    deep_width: int = 512  # at latent rate
    deep_depth: int = 4
    expansion: int = 3  # of the blocks' hidden layers
    phase_bins: int = 256  # bins whose phase the encoder sees
    noise: float = 0.1  # added to the unit-variance latents in training, so that finer detail isn't relied on
    griffin_lim: int = 0  # steps after the decoder that bring the lower bins' phases to agree, in training too

    def build(self) -> "SpectralCodec":
        return SpectralCodec(self)


class SpectralCodec(Codec):
    importance: Tensor

    def __init__(self, config: SpectralCodecConfig) -> None:
        if config.channels not in (1, 2):
            raise UserError(f"the spectral codec makes 1 or 2 channels, not {config.channels}")
        frame = config.hop * config.stride
        if config.stride % (config.size // config.hop):
            raise UserError("the spectral codec's stride must be a multiple of size / hop, so that latents "
                            f"share one clock; got stride {config.stride}, {config.size} / {config.hop}")
        encoder, decoder = Encoder(config), Decoder(config)
        super().__init__(Continuous(config.latents, config.sample_rate / frame), config.sample_rate,
                         config.channels, multiple_of=frame, chunking=Exact(decoder.context))
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self.stft = AlignedSTFT(config.size, config.hop)
        self.lower = AlignedSTFT(config.size // LOWER, config.hop // LOWER)  # on the same clock, bin by bin
        self.full_scale = config.size / 4  # what a full-scale sine gives in its bin, by a Hann window
        hertz = torch.linspace(0, config.sample_rate / 2, config.size // 2 + 1)
        weights = 1 / (hertz + 500)  # about the density of musical pitches above 500 Hz
        self.register_buffer("importance", weights / weights.mean(), persistent=False)

    def analyse(self, audio: Tensor) -> Tensor:
        return self.encoder(self._spectrum(audio))

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        if torch.is_grad_enabled():
            return self._sound(*self.decoder(latents))
        spectra = (torch.complex(magnitude * angle.cos(), magnitude * angle.sin())  # twice as fast as torch.polar
                   for magnitude, angle in self._polar(latents))
        audio = self.stft.join(self._agreed(spectra))
        return from_middle_side(rearrange(audio, "(b c) t -> b c t", c=self.channels))

    def _polar(self, latents: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """latents `[b d n]` -> magnitudes and phases `[b·c n·stride f]` for `join`, in blocks that a CPU's cache holds:
        here numbers are many and the work on each is little."""
        whole = self.decoder.parts(latents)
        turns, floor = self.stft.angles(AT_ONCE), FLOOR * self.full_scale
        for direct, more, phase in zip(*(part.split(AT_ONCE, 2) for part in whole)):
            amplitude = (direct + more).clamp_(max=LOUDEST).exp_().mul_(self.full_scale)
            magnitude = nn.functional.softshrink(amplitude, floor)  # less the floor, at least nought: in one pass
            yield magnitude.flatten(0, 1), (phase + turns[: phase.shape[2]]).flatten(0, 1)

    def forward(self, audio: Tensor) -> Reconstruction:
        """Also `magnitude`: the L1 distance of the decoder's log magnitudes from the true ones, lower bins weighing
        more (what is heard of them depends on the phases too, and teaches slowly). `power`: how far the latents exceed
        unit variance, to keep them from outgrowing the noise."""
        spectrum = self._spectrum(self.pad(audio))
        latents = self.encoder(spectrum)
        level, phase = self.decoder(latents + self.config.noise * torch.randn_like(latents))
        losses = {"magnitude": ((level - log_level(spectrum)).abs() * self.importance).mean(),
                  "power": (latents.square().mean((0, 2)) - 1).relu().mean()}
        return Reconstruction(self._sound(level, phase)[..., : audio.shape[-1]], latents, losses)

    @torch.no_grad()
    def begin(self, batches: Iterable[Tensor]) -> None:
        """Sets the linear paths to the principal components of the log magnitudes, lower bins weighing more."""
        stride, scale = self.config.stride, self.importance.sqrt()
        rows = torch.cat([rearrange(log_level(self._spectrum(self.pad(audio))) * scale,
                                    "b c (n s) f -> (b n) (s c f)", s=stride) for audio in batches])
        mean = rows.mean(0)
        found = min(self.config.latents, len(rows) - 1)  # a very short corpus has fewer components
        _, _, components = torch.pca_lowrank(rows - mean, found, center=False, niter=4)
        others = nn.functional.normalize(torch.randn(rows.shape[1], self.config.latents - found), dim=0)
        components = torch.cat([components, others], 1)
        deviation = ((rows - mean) @ components).std(0).clamp_min(1e-3)
        scale = scale.repeat(stride * self.channels)
        self.encoder.linear.weight.copy_((components / deviation).T * scale)
        self.encoder.linear.bias.copy_(-mean @ components / deviation)
        self.decoder.linear.weight.copy_(components * deviation / scale[:, None])
        self.decoder.linear.weight[:, found:] = 0
        self.decoder.linear.bias.copy_(mean / scale)

    def _spectrum(self, audio: Tensor) -> Tensor:
        """audio `[b c t]` -> complex `[b c n f]` of middle and side, a full-scale sine being 1."""
        spectrum = self.stft(rearrange(to_middle_side(audio), "b c t -> (b c) t")) / self.full_scale
        return rearrange(spectrum, "(b c) n f -> b c n f", c=self.channels)

    def _sound(self, level: Tensor, phase: Tensor) -> Tensor:
        # fp32: sums of many bins in bf16 would hiss
        magnitude = (level.float().clamp(max=LOUDEST).exp() - FLOOR).relu() * self.full_scale
        spectrum = torch.polar(magnitude, phase.float() + self.stft.angles(phase.shape[2]))
        audio = self.stft.join(self._agreed([spectrum.flatten(0, 1)]))
        return from_middle_side(rearrange(audio, "(b c) t -> b c t", c=self.channels))

    def _agreed(self, spectra: Iterable[Tensor]) -> Iterable[Tensor]:
        """Blocks for `join`, the phases of their lower bins brought to agree: there notes are, and at a lower rate it
        costs a fraction of all."""
        if not self.config.griffin_lim:
            return spectra
        blocks, bins = list(spectra), self.lower.size // 2 + 1
        low = torch.cat([block[..., :bins] for block in blocks], 1)
        agreed = agreeing(low, self.lower.nearest, self.config.griffin_lim)[..., : bins - EDGE]
        return [torch.cat([low, block[..., bins - EDGE :]], -1)
                for low, block in zip(agreed.split([block.shape[1] for block in blocks], 1), blocks)]


class Encoder(nn.Module):
    """complex `[b c n f]`, full-scale sine = 1 -> latents `[b d n/stride]`, of about unit variance."""

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        self.phase_bins, self.stride = config.phase_bins, config.stride
        features = config.channels * (config.size // 2 + 1 + 2 * config.phase_bins)
        self.enter = nn.Linear(features, config.width)
        self.frames = ConvNeXtStack(config.width, config.expansion * config.width, config.depth // 2)
        self.down = nn.Linear(config.stride * config.width, config.deep_width)
        self.deep = ConvNeXtStack(config.deep_width, config.expansion * config.deep_width, config.deep_depth)
        self.norm = nn.LayerNorm(config.deep_width, eps=1e-6)
        self.leave = nn.Linear(config.deep_width, config.latents)
        nn.init.zeros_(self.leave.weight)
        self.linear = Fixed(config.stride * config.channels * (config.size // 2 + 1), config.latents)

    def forward(self, spectrum: Tensor) -> Tensor:
        level = log_level(spectrum)
        direct = self.linear(rearrange(level, "b c (n s) f -> b n (s c f)", s=self.stride))
        low = spectrum[..., : self.phase_bins]
        turned = torch.view_as_real(low) * (low.abs() + FLOOR).pow(-0.6)[..., None]  # magnitude to the 0.4
        x = torch.cat([rearrange(level / 4 + 1, "b c n f -> b n (c f)"),
                       rearrange(turned, "b c n f r -> b n (c f r)")], -1)
        x = self.frames(self.enter(x))
        x = self.deep(self.down(rearrange(x, "b (n s) d -> b n (s d)", s=self.stride)))
        return (direct + self.leave(self.norm(x))).float().transpose(1, 2)


class Decoder(nn.Module):
    """latents `[b d n]` -> log level (`log_level`) and phase `[b c n·stride f]`."""

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        self.channels, self.stride = config.channels, config.stride
        self.enter = nn.Conv1d(config.latents, config.deep_width, 3, padding=1)
        self.deep = ConvNeXtStack(config.deep_width, config.expansion * config.deep_width, config.deep_depth)
        self.up = nn.Linear(config.deep_width, config.stride * config.width)
        self.frames = ConvNeXtStack(config.width, config.expansion * config.width, config.depth)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.leave = nn.Linear(config.width, 2 * config.channels * (config.size // 2 + 1))
        nn.init.zeros_(self.leave.weight.view(2, -1)[0])
        self.linear = Fixed(config.latents, config.stride * config.channels * (config.size // 2 + 1))
        self.linear.bias.fill_(-7.0)  # until `begin`: the level of quiet music
        frames = config.size // config.hop  # that a window overlaps; each step of Griffin-Lim goes there and back
        reach = self.frames.reach + frames + 2 * (frames - 1) * config.griffin_lim
        self.context = 1 + self.deep.reach + -(-reach // config.stride)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        direct, level, phase = self.parts(latents)
        return direct + level, phase

    def parts(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """latents `[b d n]` -> the level by the linear path, what the network adds to it, and the phase, all
        `[b c n·stride f]`."""
        x = self.deep(self.enter(latents).transpose(1, 2))
        x = rearrange(self.up(x), "b n (s d) -> b (n s) d", s=self.stride)
        x = self.norm(self.frames(x))
        # half precision only in training: in use, its steps of 0.03 in log magnitude would hiss
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.training and x.dtype == torch.bfloat16):
            wanted = x.dtype if self.training else self.leave.weight.dtype
            direct = spectra(self.linear, latents.transpose(1, 2).to(wanted), self.stride * self.channels)
            level, phase = rearrange(spectra(self.leave, x.to(wanted), 2 * self.channels),
                                     "b n (p c) f -> p b c n f", p=2)
        return rearrange(direct, "b n (s c) f -> b c (n s) f", s=self.stride), level, phase


class Fixed(nn.Module):
    """A linear map that is set from data, not trained. `[… i]` -> `[… o]`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(outputs, inputs) / inputs**0.5)
        self.register_buffer("bias", torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


def spectra(layer: "nn.Linear | Fixed", x: Tensor, count: int) -> Tensor:
    """The layer's outputs as `count` spectra, `[… count f]`, always float32.

    Where no gradient is wanted, each spectrum gets outputs that aren't used, up to a multiple of 8: a CPU's matrix
    product in float32 is up to twice as fast where its rows begin on even addresses.
    """
    weight, bias = (w.unflatten(0, (count, -1)) for w in (layer.weight, layer.bias))
    bins = bias.shape[1]
    if not torch.is_grad_enabled():
        weight, bias = pad(weight, (0, 0, 0, -bins % 8)), pad(bias, (0, -bins % 8))
    made = nn.functional.linear(x.contiguous(), weight.flatten(0, 1), bias.flatten())
    return made.float().unflatten(-1, (count, -1))[..., :bins]


def log_level(spectrum: Tensor) -> Tensor:
    """Natural logarithm of the magnitude, full-scale sine = 1, flat below FLOOR."""
    return (spectrum.abs() + FLOOR).log()


def to_middle_side(audio: Tensor) -> Tensor:
    """Left and right `[b 2 t]` -> their mean and half difference; mono stays."""
    if audio.shape[1] == 1:
        return audio
    left, right = audio.unbind(1)
    return torch.stack([(left + right) / 2, (left - right) / 2], 1)


def from_middle_side(audio: Tensor) -> Tensor:
    """The inverse of `to_middle_side`."""
    if audio.shape[1] == 1:
        return audio
    middle, side = audio.unbind(1)
    return torch.stack([middle + side, middle - side], 1)
