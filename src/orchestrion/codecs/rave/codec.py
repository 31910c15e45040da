"""RAVE (Caillon & Esling 2021): a variational autoencoder of waveforms in bands, fast enough to play live.

    audio ── PQMF, 16 bands ── strided convolutions ──► means ── principal components ──► z [b d n]
    z ── components ── transposed convolutions ──► bands, noise ── inverse PQMF ──► audio

Latents are given in principal components once they are fitted, so the first few matter most; `rank` of them are coded.
What a decoder adds of chance (noise synthesiser, noise channels, dropped components) follows from the latents by a
hash, so that a piece is the same in chunks and whole.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor

from orchestrion.codecs.rave.bottlenecks import BottleneckConfig, Quantised, QuantisedConfig, VariationalConfig
from orchestrion.codecs.rave.networks import AdaIN, Decoder, RaveNetConfig, RaveV2Config
from orchestrion.codecs.streaming import StreamingCodec
from orchestrion.contracts import CodecConfig, Continuous, Discrete, Exact, Reconstruction, Space
from orchestrion.errors import UserError
from orchestrion.nn.noise import normal_noise, uniform_noise
from orchestrion.nn.pqmf import PQMF
from orchestrion.nn.principal import Principal
from orchestrion.nn.streaming import Conv, Streaming, Upsample, Weight

State = tuple[list[Tensor], ...]
"""What streaming carries from block to block."""


class RaveConfig(CodecConfig):
    sample_rate: int = 44_100
    channels: int = 1
    latents: int = 128
    bands: int = 16
    causal: bool = False  # no look ahead: for playing live
    rank: int = 0  # coded components; 0: all
    net: RaveNetConfig = RaveV2Config()
    bottleneck: BottleneckConfig = VariationalConfig()

    def build(self) -> "RaveCodec":
        return RaveCodec(self)


class RaveCodec(StreamingCodec):
    def __init__(self, config: RaveConfig) -> None:
        if config.rank > config.latents:
            raise UserError(f"rank {config.rank} is more than the {config.latents} latents that this RAVE has")
        bottleneck = config.bottleneck.build(config.latents)
        frame = config.bands * math.prod(config.net.ratios)
        width = config.channels * config.bands
        encoder = config.net.encoder(width, bottleneck.groups * config.latents, bottleneck.groups, config.causal)
        decoder = config.net.decoder(config.latents + bottleneck.noise, width, config.causal)
        self.reach = _frames_heard(encoder, decoder, config) if config.causal else (
            _frames_heard(encoder, decoder, config) + 1) // 2
        super().__init__(_space(config, config.rank or config.latents, frame), config.sample_rate, config.channels,
                         multiple_of=frame, chunking=Exact(self.reach + 1))
        self.register_buffer("mean", torch.zeros(1, 1))  # standardised by `principal`
        self.register_buffer("deviation", torch.ones(1, 1))
        self.config, self.bottleneck, self.encoder, self.decoder = config, bottleneck, encoder, decoder
        self.principal = Principal(config.latents)
        self.pqmf = PQMF(config.bands, causal=config.causal)
        self.rank = config.rank or config.latents

    # The contract

    def analyse(self, audio: Tensor) -> Tensor:
        return self._coded(self.encoder(self._split(audio)).squeeze(2))

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        """latents `[b r n]` or tokens -> audio. r may be below the rank: what is missing is noise."""
        return self._joined(self._decode(self._heard(latents), self._noise(latents)))

    def forward(self, audio: Tensor) -> Reconstruction:
        """A training pass, with fresh chance. Losses: `kl`, `mmd` or `commitment`."""
        encoded = self.encoder(self._split(self.pad(audio))).squeeze(2)
        heard, losses = self.bottleneck.sample(encoded)
        if self.bottleneck.noise:
            fresh = torch.randn(len(heard), self.bottleneck.noise, heard.shape[-1], device=heard.device)
            heard = torch.cat([heard, fresh], 1)
        noise = torch.rand(len(audio), *self._noise_shape(heard.shape[-1]), device=audio.device) * 2 - 1
        made = self._joined(self._decode(heard, noise))
        return Reconstruction(made[..., : audio.shape[-1]], self.bottleneck.means(encoded), losses)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Measures the principal components of the latents."""
        if isinstance(self.space, Discrete):
            return
        means = (self._means(audio) for audio in batches)
        if not self.principal.fit(means):
            raise UserError("no audio was given to measure the codec's latents on")

    def settle(self, config: CodecConfig) -> CodecConfig:
        """The config for generators over these latents: only components that carry 95 % of what varies."""
        if not isinstance(config, RaveConfig) or config.rank or not self.principal.fitted:
            return config
        return replace(config, rank=self.principal.rank(0.95))

    # Beyond the contract

    def keep(self, fidelity: float) -> int:
        """Codes from now on just as many components as explain this share of the variance; -> how many."""
        if isinstance(self.space, Discrete):
            raise UserError("a discrete RAVE has tokens, and no fidelity to choose")
        if not self.principal.fitted:
            raise UserError("this RAVE's latents were not analysed yet, so --fidelity has nothing to go by: train its "
                            "first stage to the end, or leave --fidelity out")
        if not 0 < fidelity <= 1:
            raise UserError(f"a fidelity is above 0 and at most 1, not {fidelity:g}")
        self.rank = self.principal.rank(fidelity)
        self.space = _space(self.config, self.rank, self.frame)
        return self.rank

    def listen(self, audio: Tensor, target: bool) -> None:
        """Has the AdaIN layers hear audio `[1 c t]`: as the target whose style is wanted, or as the source."""
        layers = [m for m in self.modules() if isinstance(m, AdaIN)]
        if not layers:
            raise UserError("this RAVE has no AdaIN layers, so it can't take the style of another sound: use a v3")
        for layer in layers:
            layer.forget(2 if target else 1)
            layer.hears = 2 if target else 1
        with torch.no_grad():
            self.decode(self.encode(audio))
        for layer in layers:
            layer.hears = 0

    def fold(self) -> "RaveCodec":
        """Makes weight-normalised kernels plain, for export. For good: it can't be trained after."""
        for module in self.modules():
            if isinstance(module, Weight):
                module.fold()
        return self

    def encode_stream(self, audio: Tensor, state: State | None = None, final: bool = False) -> tuple[Tensor, State]:
        (past,), new = state or ([],), list[Tensor]()
        bands = self.pqmf.stream(rearrange(audio, "b c t -> (b c) 1 t"), past, new, final)
        bands = rearrange(bands, "(b c) k 1 t -> b (c k) 1 t", c=self.channels)
        encoded = self.encoder.stream(bands, past, new, final).squeeze(2)
        return self._coded(encoded), (new,)

    def decode_stream(self, latents: Tensor, state: State | None = None, final: bool = False) -> tuple[Tensor, State]:
        (past,), new = state or ([],), list[Tensor]()
        heard, noise = self._heard(latents), self._noise(latents)
        bands = self.decoder.stream(_rows(heard), noise.unsqueeze(2), past, new, final)
        bands = rearrange(bands, "b (c k) 1 t -> (b c) k 1 t", c=self.channels)
        made = self.pqmf.stream_inverse(bands, past, new, final)
        return rearrange(made, "(b c) 1 t -> b c t", c=self.channels), (new,)

    # Inside

    def _means(self, audio: Tensor) -> Tensor:
        return self.bottleneck.means(self.encoder(self._split(self.pad(audio))).squeeze(2).float())

    def _coded(self, encoded: Tensor) -> Tensor:
        if isinstance(self.bottleneck, Quantised):
            return self.bottleneck.quantiser.encode(encoded)
        return self.principal.enter(self.bottleneck.means(encoded.float()), self.rank)

    def _heard(self, latents: Tensor) -> Tensor:
        """Latents or tokens -> what the decoder hears `[b d n]`."""
        if isinstance(self.bottleneck, Quantised):
            heard = self.bottleneck.quantiser.decode(latents)
        else:
            missing = self.config.latents - latents.shape[1]
            heard = self.principal.leave(latents, normal_noise(latents, missing))
        if self.bottleneck.noise:
            heard = torch.cat([heard, normal_noise(latents, self.bottleneck.noise)], 1)
        return heard

    def _noise_shape(self, frames: int) -> tuple[int, int]:
        width = self.channels * self.config.bands
        return (width, frames * self.frame // self.config.bands) if self.decoder.noisy else (width, 0)

    def _noise(self, latents: Tensor) -> Tensor:
        """Uniform noise for the noise synthesiser `[b bands t]`, t band samples; empty where there is none."""
        width, count = self._noise_shape(latents.shape[-1])
        if count == 0:
            return torch.zeros(len(latents), width, 0, device=latents.device)
        each = self.frame // self.config.bands
        noise = uniform_noise(latents, width * each)
        return rearrange(noise, "b (w s) n -> b w (n s)", s=each)

    def _split(self, audio: Tensor) -> Tensor:
        """audio `[b c t]` -> bands `[b c·k 1 t/k]`, channels last in memory where there is one channel."""
        bands = self.pqmf(rearrange(audio, "b c t -> (b c) 1 t"))
        return rearrange(bands, "(b c) k 1 t -> b (c k) 1 t", c=self.channels)

    def _decode(self, heard: Tensor, noise: Tensor) -> Tensor:
        past, new = list[Tensor](), list[Tensor]()
        return self.decoder.stream(_rows(heard), noise.unsqueeze(2), past, new, True)

    def _joined(self, bands: Tensor) -> Tensor:
        made = self.pqmf.inverse(rearrange(bands.float(), "b (c k) 1 t -> (b c) k 1 t", c=self.channels))
        return rearrange(made, "(b c) 1 t -> b c t", c=self.channels)


def _rows(latents: Tensor) -> Tensor:
    """`[b d n]` -> `[b d 1 n]`, channels last in memory."""
    return latents.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _space(config: RaveConfig, rank: int, frame: int) -> Space:
    rate = config.sample_rate / frame
    if isinstance(config.bottleneck, QuantisedConfig):
        return Discrete(config.bottleneck.codebooks, config.bottleneck.size, rate)
    return Continuous(rank, rate)


def _frames_heard(encoder: Streaming, decoder: Decoder, config: RaveConfig) -> int:
    """Latent frames, rounded up, that one output sample of either network hears."""
    heard = []
    for network, step in ((encoder, 1.0), (decoder, float(math.prod(config.net.ratios)))):
        total = 2.0 * 33  # the filter bank, both ways
        for module in network.modules():
            if isinstance(module, Conv):
                total += (module.span - 1) * step
                step *= module.stride
            elif isinstance(module, Upsample):
                total += 2 * step
                step /= module.ratio
        heard.append(total)
    return math.ceil(max(heard) / math.prod(config.net.ratios))
