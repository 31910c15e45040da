"""The spectral codec: spectrogram in, magnitude and phase out, one vector every 2048 samples.

    audio ── middle, side ── STFT ──► linear + ConvNeXt ÷4 ConvNeXt ──► z [b d n]
    z ── linear + ConvNeXt ×4 ConvNeXt ──► magnitude, phase ── inverse STFT ──► audio

The idea is Musika's first level (Pasini & Schlüter 2022) with Vocos's blocks and head (Siuzdak 2023). A steady
tone of any pitch looks the same in every frame of a magnitude spectrogram, so a convolutional decoder that
sees only magnitudes has nothing to hold its phase to and smears the partials. So the encoder also sees the
phase of the lower bins, and both sides speak of phase on one clock (`AlignedSTFT`), where it turns slowly.

The linear paths are the principal components of the log magnitudes; the networks learn what these leave. From random
weights alone, training stays for thousands of steps at what one component explains, the loudness.

Two channels are coded both, as middle and side; or the middle alone, whose latents are a mono codec's, and the side is
made from it as far as the sound tells where its notes lie (`Side`), after parametric stereo (Breebaart et al. 2005),
whose few numbers a frame the decoder here finds by itself.
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
    channels: int = 2  # 1 or 2; two are coded as middle and side, but for
    side_width: int = 0  # hidden units of what makes the side out of the middle, which alone is coded then; 0: nothing
    latents: int = 96
    size: int = 2048  # window, samples
    hop: int = 512  # samples
    stride: int = 4  # frames per latent
    decoder_size: int = 0  # window of the spectra that the decoder makes, its hop in proportion; 0: as `size`
    width: int = 384  # at frame rate
    decoder_width: int = 0  # the decoder's; 0: as `width`
    depth: int = 6  # blocks at frame rate, in the decoder; the encoder has half as many
    deep_width: int = 512  # at latent rate
    deep_depth: int = 4
    expansion: int = 3  # of the blocks' hidden layers
    phase_bins: int = 256  # bins whose phase the encoder sees
    noise: float = 0.1  # added to the unit-variance latents in training, so that finer detail isn't relied on
    griffin_lim: int = 0  # steps after the decoder that bring the lower bins' phases to agree, in training too

    @property
    def coded(self) -> int:
        """Channels that the latents tell of."""
        return 1 if self.side_width else self.channels

    @property
    def made_size(self) -> int:
        return self.decoder_size or self.size

    @property
    def made_stride(self) -> int:
        """Frames of the decoder's per latent."""
        return self.stride * self.size // self.made_size

    def build(self) -> "SpectralCodec":
        return SpectralCodec(self)


class SpectralCodec(Codec):
    importance: Tensor

    def __init__(self, config: SpectralCodecConfig) -> None:
        if config.channels not in (1, 2):
            raise UserError(f"the spectral codec makes 1 or 2 channels, not {config.channels}")
        if config.side_width and config.channels == 1:
            raise UserError("the spectral codec makes a side for two channels: set channels to 2, or side_width to 0")
        frame = config.hop * config.stride
        overlap = config.size // config.hop
        if config.stride % overlap:
            raise UserError("the spectral codec's stride must be a multiple of size / hop, so that latents "
                            f"share one clock; got stride {config.stride}, {config.size} / {config.hop}")
        size = config.made_size
        if size % (2 * LOWER * overlap) or frame % (size // overlap) or overlap % min(overlap, config.made_stride):
            raise UserError(f"the spectral codec's decoder can't make spectra of {size} samples, {overlap} of which "
                            f"overlap, for latents of {frame} samples: give a power of two up to {frame * overlap}")
        encoder, decoder = Encoder(config), Decoder(config)
        super().__init__(Continuous(config.latents, config.sample_rate / frame), config.sample_rate,
                         config.channels, multiple_of=frame, chunking=Exact(decoder.context))
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self.stft = AlignedSTFT(config.size, config.hop)
        hop, overlap = config.made_size // overlap, min(overlap, config.made_stride)
        self.made = AlignedSTFT(config.made_size, hop, period=overlap)
        self.lower = AlignedSTFT(config.made_size // LOWER, hop // LOWER)  # the same frames, bin by bin
        self.register_buffer("importance", importance(config.sample_rate, config.made_size), persistent=False)

    def analyse(self, audio: Tensor) -> Tensor:
        return self.encoder(self._coded(self._spectrum(audio, self.stft)))

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        if torch.is_grad_enabled():
            return self._sound(*self.decoder(latents))
        *polar, side = self.decoder.parts(latents)
        return self._joined(self._made(*polar), side)

    def _made(self, direct: Tensor, more: Tensor, phase: Tensor) -> Iterator[Tensor]:
        """The decoder's parts -> complex `[b·c n·stride f]` for `join`, in blocks that a CPU's cache holds: here
        numbers are many and the work on each is little."""
        turns, scale = self.made.angles(AT_ONCE), full_scale(self.made)
        for level, added, angle in zip(*(part.split(AT_ONCE, 2) for part in (direct, more, phase))):
            amplitude = (level + added).clamp_(max=LOUDEST).exp_().mul_(scale)
            magnitude = nn.functional.softshrink(amplitude, FLOOR * scale)  # less the floor, at least 0: in one pass
            angle = angle + turns[: angle.shape[2]]
            spectrum = torch.complex(magnitude * angle.cos(), magnitude * angle.sin())  # twice as fast as torch.polar
            yield spectrum.flatten(0, 1)

    def _joined(self, spectra: Iterable[Tensor], side: Tensor | None) -> Tensor:
        """Blocks for `join`, and `Side`'s answer for all their frames -> audio `[b c t]`."""
        spectra = self._agreed(spectra)
        if side is not None:
            spectra = with_side(spectra, side)
        return from_middle_side(rearrange(self.made.join(spectra), "(b c) t -> b c t", c=self.channels))

    def forward(self, audio: Tensor) -> Reconstruction:
        """Also `magnitude`: the L1 distance of the decoder's log magnitudes from the true ones, lower bins weighing
        more (what is heard of them depends on the phases too, and teaches slowly). `turning`: see `turning_error`, of
        the bins whose phases are made to agree. `power`: how far the latents exceed unit variance, to keep them from
        outgrowing the noise. `side`: see `side_error`."""
        padded = self.pad(audio)
        latents = self.analyse(padded)
        level, phase, side = self.decoder(latents + self.config.noise * torch.randn_like(latents))
        both, lower = self._spectrum(padded, self.made), self.lower.size // 2 + 1
        truth = self._coded(both)
        losses = {"magnitude": ((level - log_level(truth)).abs() * self.importance).mean(),
                  "turning": turning_error(truth[..., :lower], phase[..., :lower].float(), self.importance[:lower]),
                  "power": (latents.square().mean((0, 2)) - 1).relu().mean()}
        if side is not None:
            losses["side"] = side_error(side, both[:, 0], both[:, 1], self.importance)
        return Reconstruction(self._sound(level, phase, side)[..., : audio.shape[-1]], latents, losses)

    @torch.no_grad()
    def begin(self, batches: Iterable[Tensor]) -> None:
        """Sets the linear paths: the encoder's to the principal components of the log magnitudes, lower bins weighing
        more, the decoder's to what the latents then tell of its own (of the same spectra: the same components)."""
        clips = [self.pad(audio) for audio in batches]
        scale = importance(self.sample_rate, self.config.size).to(clips[0].device).sqrt()
        rows = torch.cat([in_rows(log_level(self._coded(self._spectrum(audio, self.stft))) * scale, self.config.stride)
                          for audio in clips])
        mean = rows.mean(0)
        found = min(self.config.latents, len(rows) - 1)  # a very short corpus has fewer components
        _, _, components = torch.pca_lowrank(rows - mean, found, center=False, niter=4)
        others = nn.functional.normalize(torch.randn(rows.shape[1], self.config.latents - found), dim=0)
        components = torch.cat([components, others.to(rows)], 1)
        directions = components / ((rows - mean) @ components).std(0).clamp_min(1e-3)
        self.encoder.linear.weight.copy_(directions.T * scale.repeat(self.config.stride * self.config.coded))
        self.encoder.linear.bias.copy_(-mean @ directions)
        del rows
        self.begin_decoder(clips, found)

    @torch.no_grad()
    def begin_decoder(self, batches: Iterable[Tensor], known: int | None = None) -> None:
        """Sets the decoder's linear path to the least squares of its log magnitudes by the latents, or by the first so
        many that are known."""
        count, total = 0, torch.zeros((), dtype=torch.float64)
        product = total
        for audio in batches:
            padded = self.pad(audio)
            z = rearrange(self.analyse(padded), "b d n -> (b n) d")[:, :known].double()
            level = in_rows(log_level(self._coded(self._spectrum(padded, self.made))), self.config.made_stride)
            both = torch.cat([z, level.double()], 1)
            count, total, product = count + len(z), both.sum(0) + total, z.T @ both + product
        latents, mean = len(product), total / count
        spread = product - count * torch.outer(mean[:latents], mean)  # of the latents by all
        weight = torch.linalg.pinv(spread[:, :latents], hermitian=True) @ spread[:, latents:]
        self.decoder.linear.weight.zero_()
        self.decoder.linear.weight[:, :latents] = weight.T
        self.decoder.linear.bias.copy_(mean[latents:] - mean[:latents] @ weight)

    def _spectrum(self, audio: Tensor, stft: AlignedSTFT) -> Tensor:
        """audio `[b c t]` -> complex `[b c n f]` of middle and side, a full-scale sine being 1."""
        spectrum = stft(rearrange(to_middle_side(audio), "b c t -> (b c) t")) / full_scale(stft)
        return rearrange(spectrum, "(b c) n f -> b c n f", c=self.channels)

    def _coded(self, spectrum: Tensor) -> Tensor:
        """Of middle and side, what the latents tell of."""
        return spectrum[:, : self.config.coded]

    def _sound(self, level: Tensor, phase: Tensor, side: Tensor | None) -> Tensor:
        # fp32: sums of many bins in bf16 would hiss
        magnitude = (level.float().clamp(max=LOUDEST).exp() - FLOOR).relu() * full_scale(self.made)
        spectrum = torch.polar(magnitude, phase.float() + self.made.angles(phase.shape[2]))
        return self._joined([spectrum.flatten(0, 1)], side)

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
        features = config.coded * (config.size // 2 + 1 + 2 * config.phase_bins)
        self.enter = nn.Linear(features, config.width)
        self.frames = ConvNeXtStack(config.width, config.expansion * config.width, config.depth // 2)
        self.down = nn.Linear(config.stride * config.width, config.deep_width)
        self.deep = ConvNeXtStack(config.deep_width, config.expansion * config.deep_width, config.deep_depth)
        self.norm = nn.LayerNorm(config.deep_width, eps=1e-6)
        self.leave = nn.Linear(config.deep_width, config.latents)
        nn.init.zeros_(self.leave.weight)
        self.linear = Fixed(config.stride * config.coded * (config.size // 2 + 1), config.latents)

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
    """latents `[b d n]` -> log level (`log_level`) and phase `[b c n·stride f]` of what is coded, and `Side`'s answer
    where the side isn't."""

    def __init__(self, config: SpectralCodecConfig) -> None:
        super().__init__()
        self.channels, self.stride = config.coded, config.made_stride
        width = config.decoder_width or config.width
        self.enter = nn.Conv1d(config.latents, config.deep_width, 3, padding=1)
        self.deep = ConvNeXtStack(config.deep_width, config.expansion * config.deep_width, config.deep_depth)
        self.up = nn.Linear(config.deep_width, config.made_stride * width)
        self.frames = ConvNeXtStack(width, config.expansion * width, config.depth)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.leave = nn.Linear(width, 2 * config.coded * (config.made_size // 2 + 1))
        nn.init.zeros_(self.leave.weight.view(2, -1)[0])
        self.linear = Fixed(config.latents, config.made_stride * config.coded * (config.made_size // 2 + 1))
        self.linear.bias.fill_(-7.0)  # until `begin`: the level of quiet music
        self.side = Side(width, config.side_width, config.made_size // 2 + 1) if config.side_width else None
        frames = config.size // config.hop  # that a window overlaps; each step of Griffin-Lim goes there and back
        reach = self.frames.reach + frames + 2 * (frames - 1) * config.griffin_lim
        self.context = 1 + self.deep.reach + -(-reach // config.made_stride)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        direct, level, phase, side = self.parts(latents)
        return direct + level, phase, side

    def parts(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """latents `[b d n]` -> the level by the linear path, what the network adds to it, and the phase, all
        `[b c n·stride f]`; and `Side`'s answer."""
        x = self.deep(self.enter(latents).transpose(1, 2))
        x = rearrange(self.up(x), "b n (s d) -> b (n s) d", s=self.stride)
        x = self.norm(self.frames(x))
        # half precision only in training: in use, its steps of 0.03 in log magnitude would hiss
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.training and x.dtype == torch.bfloat16):
            wanted = x.dtype if self.training else self.leave.weight.dtype
            direct = spectra(self.linear, latents.transpose(1, 2).to(wanted), self.stride * self.channels)
            level, phase = rearrange(spectra(self.leave, x.to(wanted), 2 * self.channels),
                                     "b n (p c) f -> p b c n f", p=2)
        side = None if self.side is None else self.side(x)
        return rearrange(direct, "b n (s c) f -> b c (n s) f", s=self.stride), level, phase, side


class Side(nn.Module):
    """Features `[b n d]` -> what `turned` makes of the middle's spectrum to be the side's, `[b n 3 f]`: a gain in
    nepers, then a direction, of any length.

    Of a recorded or sampled instrument each partial has a place between the channels, and a lag, of its own, that
    hardly change while it sounds. Gain and direction are apart so that a side that can't be foretold is as loud as it
    should be all the same: it is heard as width.
    """

    def __init__(self, width: int, hidden: int, bins: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, hidden)
        self.leave = nn.Linear(hidden, 3 * bins)
        nn.init.normal_(self.leave.weight, std=1e-3)
        nn.init.zeros_(self.leave.bias)
        with torch.no_grad():
            self.leave.bias.view(3, -1)[:2] += torch.tensor([[-2.0], [0.1]])  # narrow, and in phase

    def forward(self, x: Tensor) -> Tensor:
        return spectra(self.leave, nn.functional.gelu(self.widen(x)), 3)


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


def in_rows(level: Tensor, stride: int) -> Tensor:
    """`[b c n·stride f]` -> what a latent stands for, `[b·n stride·c·f]`."""
    return rearrange(level, "b c (n s) f -> (b n) (s c f)", s=stride)


def importance(sample_rate: int, size: int) -> Tensor:
    """Weights `[f]` of a spectrum's bins, of mean 1: about the density of musical pitches above 500 Hz."""
    weights = 1 / (torch.linspace(0, sample_rate / 2, size // 2 + 1) + 500)
    return weights / weights.mean()


def full_scale(stft: AlignedSTFT) -> float:
    """What a full-scale sine gives in its bin, by a Hann window."""
    return stft.size / 4


def turning_error(truth: Tensor, phase: Tensor, weights: Tensor) -> Tensor:
    """How wrongly phases `[b c n f]` turn beside those of `truth`, complex `[b c n f]`: one minus the cosine of the
    error of their change from frame to frame, over four frames and from bin to bin, the mean of the three (after the
    losses of APNet, Ai & Ling 2023, arXiv 2305.07952, by another distance). Bins weigh by `weights` `[f]` and the root
    of their magnitude. Where a phase begins isn't asked for: notes are heard by how partials go on.
    """
    error = torch.polar(torch.ones_like(phase), phase - truth.angle())
    weight = truth.abs().sqrt() * weights
    terms = []
    for axis, step in ((2, 1), (2, 4), (3, 1)):
        count = error.shape[axis] - step
        if count > 0:
            before, after = (error.narrow(axis, start, count) for start in (0, step))
            heavy = (weight.narrow(axis, 0, count) * weight.narrow(axis, step, count)).sqrt()
            terms.append(((1 - (after * before.conj()).real) * heavy).sum() / heavy.sum().clamp_min(1e-9))
    return torch.stack(terms).mean()


def turned(middle: Tensor, side: Tensor) -> Tensor:
    """The middle's spectrum, complex `[b n f]`, by `Side`'s answer `[b n 3 f]` -> the side's."""
    gain, real, imaginary = side.float().unbind(2)
    factor = gain.clamp(max=LOUDEST).exp() * (real.square() + imaginary.square() + 1e-6).rsqrt()
    return torch.complex(real * factor, imaginary * factor) * middle


def with_side(spectra: Iterable[Tensor], side: Tensor) -> Iterator[Tensor]:
    """Blocks of the middle's frames, complex `[b n f]` -> of the middle's and the side's, `[b·2 n f]`."""
    start = 0
    for middle in spectra:
        made = turned(middle, side[:, start : start + middle.shape[1]])
        start += middle.shape[1]
        yield torch.stack([middle, made], 1).flatten(0, 1)


def side_error(side: Tensor, middle: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """How far the side that `Side`'s answer `[b n 3 f]` makes of the true middle is from the true one, both complex
    `[b n f]`: in level, in nepers, where it isn't far below the middle, and one minus the cosine of the error in phase.
    Bins weigh by `weights` `[f]` and by the fourth root of both magnitudes' product."""
    made, below = turned(middle, side), 0.03 * middle.abs() + FLOOR / 4
    ours, true = (made.real.square() + made.imag.square() + 1e-12).sqrt(), truth.abs()
    level = ((ours + below).log() - (true + below).log()).abs()
    phase = 1 - (made * truth.conj()).real / (ours * true + 1e-10)
    heavy = weights * (middle.abs() * (true + below)).sqrt().sqrt()
    return ((level + phase * true / (true + below)) * heavy).mean() / heavy.mean().clamp_min(1e-9)


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
