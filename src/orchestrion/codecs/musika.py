"""Musika's two-level codec: one vector of 64 numbers every 4096 samples (Pasini & Schlüter, ISMIR 2022).

    audio ── STFT, dB ──► level 1: each frame by itself ──► z1 ── level 2: 16 frames at a time ──► z [b d n]
    z ── level 2: 4 vectors at a time ──► z1 ── level 1: 64 frames at a time ──► dB, phase ── inverse STFT ──► audio

Layers, kernel sizes and widths follow the authors' 44.1 kHz code (github.com/marcoppasini/musika, models.py); the
encoder never sees the phase, the decoder invents it. Decoding works on blocks of 4 vectors that know nothing of
each other, so decoding in chunks of whole blocks equals decoding whole. Inside, frames are rows, `[b n c]`, and
every convolution is one matrix product: on a CPU in bf16 that is what runs fastest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.audio.spectra import STFT, StreamState
from orchestrion.contracts import Codec, CodecConfig, Continuous, Exact
from orchestrion.nn import half
from orchestrion.nn.noise import hashed, normal

VECTOR = 16  # frames per latent vector
BLOCK = 4  # vectors that the decoder takes at a time
DECIBELS = 75.0  # normalised level 0 is -25 dB, and 1 is 75 dB more
CENTRE = -25.0
AT_ONCE = 32  # blocks decoded at a time while no gradient is wanted: keeps memory flat and the cache warm

Noise = Callable[[int], Tensor]
"""The decoder's noise: frames n -> normal numbers `[b n]`, new ones on every call."""


class MusikaCodecConfig(CodecConfig):
    """Mono; `PerChannelConfig` makes it stereo. The defaults are the authors'."""

    sample_rate: int = 44_100
    hop: int = 256  # samples; the window is four hops
    width: int = 256  # channels: the layers have 1 to 4 times as many
    frame_latents: int = 64  # level 1, per frame
    latents: int = 64  # level 2, per 16 frames

    def build(self) -> "MusikaCodec":
        return MusikaCodec(self)


@dataclass
class Attempt:
    """A training pass: what went in and what came out, frames as rows."""

    level: Tensor  # normalised dB of the input `[b n f]`
    made_level: Tensor  # the decoder's
    z1: Tensor  # level 1's latents `[b n d]`
    made_z1: Tensor  # through level 2, or the same where only level 1 was asked for
    audio: Tensor  # `[b 1 t]`, by inverse STFT


class MusikaCodec(Codec):
    def __init__(self, config: MusikaCodecConfig) -> None:
        frame = config.hop * VECTOR
        super().__init__(Continuous(config.latents, config.sample_rate / frame), config.sample_rate, channels=1,
                         multiple_of=frame * BLOCK, chunking=Exact(BLOCK))
        self.config = config
        self.stft = STFT(4 * config.hop, config.hop, padding="same")
        self.level1 = Level1(2 * config.hop + 1, config.width, config.frame_latents)
        self.level2 = Level2(config.frame_latents, config.width, config.latents)
        self._half1, self._half2 = half.HalfCopy(), half.HalfCopy()

    def _levels(self, x: Tensor) -> tuple["Level1", "Level2"]:
        """Both levels; as bfloat16 copies where autocast would cast x and the weights at every use."""
        if half.wanted(x):
            return self._half1.of(self.level1), self._half2.of(self.level2)
        return self.level1, self.level2

    def analyse(self, audio: Tensor) -> Tensor:
        """audio `[b 1 t]` -> latents `[b d n]` in [-1, 1]."""
        level = self.levels(audio)
        level1, level2 = self._levels(level)
        step = level.shape[1] if torch.is_grad_enabled() else AT_ONCE * BLOCK * VECTOR
        vectors = [level2.encode(level1.encode(piece)) for piece in level.split(step, 1)]
        return torch.cat(vectors, 1).mT.float()

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        """latents `[b d n]` -> audio `[b 1 n·4096]`.

        The decoder's noise follows from the latents (`BlockNoise`), so that `rng` isn't needed and a piece is the
        same in chunks and whole. An incomplete last block is filled with its last vector.
        """
        count = latents.shape[-1]
        latents = torch.cat([latents, latents[..., -1:].expand(-1, -1, -count % BLOCK)], -1)
        blocks = rearrange(latents, "b d (v s) -> b v s d", s=BLOCK)
        step = blocks.shape[1] if torch.is_grad_enabled() else max(1, AT_ONCE // len(blocks))
        level1, level2 = self._levels(latents)
        pieces, state = [], None
        for some in blocks.split(step, 1):
            flat = some.flatten(0, 1)
            noise = BlockNoise(flat)
            level, phase = level1.decode(level2.decode(flat, noise), noise)
            spectrum = rearrange(polar(level, phase), "(b v) n f -> b (v n) f", b=len(blocks))
            piece, state = self.stft.stream(spectrum.mT, state)
            pieces.append(piece)
        assert isinstance(state, StreamState)
        pieces.append(self.stft.flush(state))
        return torch.cat(pieces, -1)[:, None, : count * self.frame]

    def levels(self, audio: Tensor) -> Tensor:
        """audio `[b 1 t]` -> normalised dB `[b n f]`: -1 is -100 dB, the floor."""
        with torch.autocast(audio.device.type, enabled=False):
            power = torch.view_as_real(self.stft(audio[:, 0])).square().sum(-1)
            return (10 * power.clamp_min(1e-10).log10() - CENTRE).mT / DECIBELS

    def attempt(self, audio: Tensor, levels: int) -> Attempt:
        """A training pass over audio `[b 1 t]`, whole blocks, through level 1 alone or both, with fresh noise."""
        level = self.levels(audio)
        z1 = made_z1 = self.level1.encode(level)
        rows = {"b": len(audio)}
        if levels == 2:
            blocks = rearrange(self.level2.encode(z1), "b (v s) d -> (b v) s d", s=BLOCK)
            made_z1 = rearrange(self.level2.decode(blocks, FreshNoise(blocks)), "(b v) n d -> b (v n) d", **rows)
        blocks = rearrange(made_z1, "b (v n) d -> (b v) n d", n=BLOCK * VECTOR)
        made, phase = (rearrange(x, "(b v) n f -> b (v n) f", **rows).float()
                       for x in self.level1.decode(blocks, FreshNoise(blocks)))
        with torch.autocast(audio.device.type, enabled=False):
            wave = self.stft.inverse(polar(made, phase).mT)[:, None]
        return Attempt(level, made, z1.float(), made_z1.float(), wave)


def polar(level: Tensor, phase: Tensor) -> Tensor:
    """Normalised dB and phase (in half turns, -1 to 1) -> complex, always float32.

    The magnitude is sqrt(10^(dB/10) + 1e-7) (utils.py, conc_tog_specphase).
    """
    with torch.autocast(level.device.type, enabled=False):
        power = torch.exp(level.float() * (DECIBELS / 10 * math.log(10)) + CENTRE / 10 * math.log(10))
        magnitude, angle = (power + 1e-7).sqrt(), phase.float() * math.pi
        return torch.complex(magnitude * angle.cos(), magnitude * angle.sin())


# The two levels


class Level1(nn.Module):
    """A spectrogram frame to `latents` numbers; 64 frames of those to levels and phases."""

    def __init__(self, bins: int, width: int, latents: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList([Layer(Frames(bins, 4 * width))])
        self.encoder.extend(Layer(Frames(4 * width, 4 * width)) for _ in range(4))
        self.bottleneck = Frames(4 * width, latents)
        self.decoder = Level1Decoder(latents, width, bins)

    def encode(self, level: Tensor) -> Tensor:
        """normalised dB `[b n f]` -> z1 `[b n d]` in [-1, 1]."""
        x = _cast(level, self.bottleneck)
        for layer in self.encoder:
            x = layer(x)
        return self.bottleneck(x).tanh()

    def decode(self, z1: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """z1 `[b 64 d]` -> normalised dB and phase `[b 64 f]`, both in [-1, 1]."""
        return self.decoder(_cast(z1, self.bottleneck), noise)


class Level1Decoder(nn.Module):
    """A U-Net over 64 frames with added skips, and two heads that part at half the frame rate.

    The authors' code computes one more map at each end of the U, below `down3`, which nothing uses; Keras drops
    both from their model and from its files, and so do we.
    """

    def __init__(self, latents: int, width: int, bins: int) -> None:
        super().__init__()
        self.enter = Layer(Frames(latents, 3 * width, 3, pad=(1, 1)), noisy=True)
        self.down1 = Layer(halving(3 * width, 3 * width), noisy=True)
        self.down2 = Layer(halving(3 * width, 2 * width), noisy=True)
        self.down3 = Layer(halving(2 * width, width), noisy=True)
        self.up2 = Layer(Upsample(width, 2 * width), noisy=True)
        self.up1 = Layer(Upsample(2 * width, 3 * width), noisy=True)
        self.up0 = Layer(Upsample(3 * width, 3 * width), noisy=True)
        self.level = Frames(3 * width, bins)
        self.phase1 = Layer(Upsample(2 * width, 3 * width), noisy=True)
        self.phase0 = Layer(Upsample(3 * width, 3 * width), noisy=True)
        self.phase = Frames(3 * width, bins)

    def forward(self, z1: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        x0 = self.enter(z1, noise)
        x1 = self.down1(x0, noise)
        x2 = self.down2(x1, noise)
        y2 = self.up2(self.down3(x2, noise), noise)
        y1 = self.up1(y2 + x2, noise)
        y0 = self.up0(y1 + x1, noise)
        level = self.level(y0 + x0)
        p0 = self.phase0(self.phase1(y2, noise) + y1, noise)
        return level.clamp(-1, 1), self.phase(p0 + y0).clamp(-1, 1)


class Level2(nn.Module):
    """16 frames of z1 to one vector, and four vectors to 64 frames."""

    def __init__(self, frame_latents: int, width: int, latents: int) -> None:
        super().__init__()
        w, w15, w2, w25, w3 = width, width * 3 // 2, 2 * width, width * 5 // 2, 3 * width
        self.encoder = nn.ModuleList([
            Layer(Frames(frame_latents, w, 3, pad=(1, 1))),
            Layer(Frames(w, w15, 3, stride=2)),  # 16 frames -> 7
            Layer(Frames(w15, w15, 3, pad=(1, 1))),
            Layer(Frames(w15, w2, 3, stride=2)),  # 7 -> 3
            Layer(Frames(w2, w2, 3, pad=(1, 1))),
            Layer(Frames(w2, w3, 3)),  # 3 -> 1
            Layer(Frames(w3, w3)),
        ])
        self.bottleneck = Frames(w3, latents)
        self.decoder = nn.ModuleList([
            Layer(Frames(latents, w3, 3, pad=(1, 1)), noisy=True),
            Layer(Upsample(w3, w25), noisy=True),
            Layer(Frames(w25, w25, 3, pad=(1, 1)), noisy=True),
            Layer(Upsample(w25, w2), noisy=True),
            Layer(Frames(w2, w2, 3, pad=(1, 1)), noisy=True),
            Layer(Upsample(w2, w15), noisy=True),
            Layer(Upsample(w15, w), noisy=True),
        ])
        self.leave = Frames(w, frame_latents)

    def encode(self, z1: Tensor) -> Tensor:
        """z1 `[b n·16 d]` -> z `[b n d]` in [-1, 1]."""
        x = rearrange(_cast(z1, self.bottleneck), "b (n s) d -> (b n) s d", s=VECTOR)
        for layer in self.encoder:
            x = layer(x)
        return rearrange(self.bottleneck(x).tanh(), "(b n) 1 d -> b n d", b=len(z1))

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        """z `[b 4 d]` -> z1 `[b 64 d]`."""
        x = _cast(z, self.bottleneck)
        for layer in self.decoder:
            x = layer(x, noise)
        return self.leave(x)


def _cast(x: Tensor, like: "Frames") -> Tensor:
    """To the weights' type: parameters may be bfloat16 while everything around stays float32."""
    return x.to(like.kernel.dtype)


# Layers


class Layer(nn.Module):
    """Convolution, noise with one learned gain, swish."""

    def __init__(self, convolution: "Frames | Upsample", noisy: bool = False) -> None:
        super().__init__()
        self.convolution = convolution
        self.gain = nn.Parameter(torch.zeros(1)) if noisy else None

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        x = self.convolution(x)
        if self.gain is not None and noise is not None:
            x = x + (self.gain * noise(x.shape[1])).to(x.dtype)[..., None]  # in x's type: no promotion
        return nn.functional.silu(x, inplace=not torch.is_grad_enabled())


class Frames(nn.Module):
    """A convolution over frames `[b n c]` as one matrix product; `pad` zeros in front and behind.

    The kernel `[taps·in out]` is a parameter of just that shape, so that autocast keeps its bfloat16 copy.
    """

    def __init__(self, inputs: int, outputs: int, taps: int = 1, stride: int = 1,
                 pad: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.taps, self.stride, self.pad = taps, stride, pad
        self.kernel = nn.Parameter(he_uniform(taps, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.taps > 1:
            x = nn.functional.pad(x, (0, 0, *self.pad))
            last = x.shape[1] - self.taps + 1
            x = torch.cat([x[:, tap : tap + last : self.stride] for tap in range(self.taps)], -1)
        return torch.addmm(self.bias, x.flatten(0, 1), self.kernel).unflatten(0, x.shape[:2])


def halving(inputs: int, outputs: int) -> Frames:
    """3 taps, stride 2, TensorFlow's "same" for an even length: the zero goes behind."""
    return Frames(inputs, outputs, 3, stride=2, pad=(0, 1))


class Upsample(nn.Module):
    """A transposed convolution, 4 taps, stride 2, as two matrix products: frames `[b n c]` -> `[b 2n c]`.

    An even frame hears the input before it and its own; an odd one its own and the next.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even = nn.Parameter(he_uniform(2, inputs, outputs))
        self.odd = nn.Parameter(he_uniform(2, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, (0, 0, 1, 1))
        before = torch.cat([padded[:, :-2], x], -1).flatten(0, 1)
        after = torch.cat([x, padded[:, 2:]], -1).flatten(0, 1)
        pair = [torch.addmm(self.bias, before, self.even),
                torch.addmm(self.bias, after, self.odd)]
        return rearrange(torch.stack(pair, 1), "(b n) p c -> b (n p) c", b=len(x))


def he_uniform(taps: int, inputs: int, outputs: int) -> Tensor:
    """Initial kernel `[taps·in out]`, as Keras' `he_uniform`."""
    limit = math.sqrt(6 / (taps * inputs))
    return torch.empty(taps * inputs, outputs).uniform_(-limit, limit)


# Noise


class BlockNoise:
    """Normal numbers that are a pure function of a block's latents and of how many were asked for before.

    So a block sounds the same alone, in a batch, in any chunk and on any machine, and no state is carried.
    """

    def __init__(self, blocks: Tensor) -> None:
        """blocks `[b ...]`."""
        self.key, self.asked = hashed(blocks.flatten(1)[..., None]), 0

    def __call__(self, frames: int) -> Tensor:
        self.asked += frames
        return normal(self.key, frames, self.asked - frames)[..., 0]


class FreshNoise:
    """Normal numbers from torch's own generator, for training."""

    def __init__(self, blocks: Tensor) -> None:
        self.count, self.device = len(blocks), blocks.device

    def __call__(self, frames: int) -> Tensor:
        return torch.randn(self.count, frames, device=self.device)
