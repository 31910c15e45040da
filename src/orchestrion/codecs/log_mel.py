"""Log-mel images as speech synthesis has them: natural logarithms of mel magnitudes, one level for all.

    audio ── STFT ── mel bands ── ln, floored at 1e-5 ──► z [b 1 f n]

The image of HiFi-GAN and of AudioLDM. It has no way back of its own: a vocoder is trained for that (`hifigan.py`).
"""

import torch
from torch import Tensor

from orchestrion.audio.spectra import LOG_FLOOR, mel_filterbank
from orchestrion.codecs.mel import LONGEST, MelCodec, MelCodecConfig
from orchestrion.contracts import Continuous, Windowed
from orchestrion.errors import UserError


class LogMelConfig(MelCodecConfig):
    """The defaults are AudioLDM's."""

    sample_rate: int = 16_000
    bands: int = 64
    size: int = 1024  # window, samples
    hop: int = 160
    low: float = 0.0  # Hz
    high: float | None = None  # half the sample rate
    peak: float | None = None  # each clip is brought to this peak first, as AudioLDM's are to 0.5

    def build(self) -> "LogMels":
        return LogMels(self)


class LogMels(MelCodec):
    """Frame i is centred on the middle of the i-th hop; the ends are reflected."""

    window: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        if (config.size - config.hop) % 2 or config.hop > config.size:
            raise UserError("a log-mel's window must be longer than its hop by an even number of samples, got "
                            f"{config.size} and {config.hop}")
        super().__init__(Continuous(1, config.sample_rate / config.hop, config.bands), config.sample_rate, 1,
                         multiple_of=config.hop, chunking=Windowed(round(LONGEST * config.sample_rate / config.hop)))
        self.config, self.size = config, config.size
        filters = mel_filterbank(config.sample_rate, config.size, config.bands, config.low, config.high)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(config.size), persistent=False)

    def analyse(self, audio: Tensor) -> Tensor:
        edge = (self.config.size - self.config.hop) // 2
        with torch.autocast(audio.device.type, enabled=False):
            wave = audio.float()
            if self.config.peak is not None:
                wave = wave - wave.mean(-1, keepdim=True)
                wave = wave * (self.config.peak / wave.abs().amax(-1, keepdim=True).clamp_min(1e-8))
            padded = torch.nn.functional.pad(wave, (edge, edge), mode="reflect" if wave.shape[-1] > edge
                                             else "constant")
            spectrum = torch.stft(padded[:, 0], self.config.size, self.config.hop, window=self.window, center=False,
                                  return_complex=True)
            return (self.filters @ spectrum.abs()).clamp_min(LOG_FLOOR).log()[:, None]
