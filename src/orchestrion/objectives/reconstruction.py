"""Spectral reconstruction of a codec: several STFT windows and a mel spectrogram, on the mono mix or a channel.

Windows up to 16384 samples matter: spectra of 2048 can't tell a partial that holds together from one whose phase
jumps from frame to frame. Short ones matter for low notes too: partials 50 Hz apart beat, which only windows of 1024
and less see, and beats that aren't there sound like notes struck again. Terms per window after Yamamoto et al. 2020
(arXiv 1910.11480, eq. 6 and 7).
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.contracts import Batch, Objective, ObjectiveConfig, Parts


class ReconstructionConfig(ObjectiveConfig):
    from_zero = frozenset({"flux", "turning"})

    windows: tuple[int, ...] = (512, 1024, 2048, 8192, 16384)
    mels: int = 128
    mel_window: int = 2048
    floor: float = 1e-4  # amplitude of a full-scale sine under which levels are not compared
    loud: float = 1e-3  # the same for `partials`: notes, not what lies between them
    convergence: float = 0.5  # weights
    log_magnitude: float = 4.0  # most of a spectrum lies at the floor and adds nothing
    log_mel: float = 2.0
    partials: float = 2.0
    flux: float = 0.0  # of how `partials` change from frame to frame, under `flux_windows`: what sounds like a strike
    flux_windows: tuple[int, ...] = (1024, 2048)
    magnitude: float = 2.0  # of the codec's own losses, where it tells of them
    turning: float = 0.0
    side: float = 1.0
    power: float = 0.1

    def build(self, parts: Parts) -> "ReconstructionObjective":
        return ReconstructionObjective(self, parts)


class ReconstructionObjective(Objective):
    mel: Tensor

    def __init__(self, config: ReconstructionConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.codec = [parts.codec]  # in a list: it is saved elsewhere
        self.weights = {"convergence": config.convergence, "log_magnitude": config.log_magnitude,
                        "log_mel": config.log_mel, "partials": config.partials, "flux": config.flux,
                        "magnitude": config.magnitude, "turning": config.turning, "side": config.side,
                        "power": config.power}
        for window in {*config.windows, *config.flux_windows, config.mel_window}:
            self.register_buffer(f"window{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"pitches{window}", by_pitch(parts.codec.sample_rate, window), persistent=False)
        bank = mel_filterbank(parts.codec.sample_rate, config.mel_window, config.mels)
        bank = bank / bank.sum(1, keepdim=True).clamp_min(1e-9)  # means of bins, so that one floor suits all
        self.register_buffer("mel", bank.float().T.contiguous(), persistent=False)  # [f mels]

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"codec": [p for p in self.codec[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        assert batch.audio is not None
        made = self.codec[0](batch.audio)
        yield "codec", self.compare(batch.audio, made.audio) | made.losses

    def compare(self, real: Tensor, made: Tensor) -> dict[str, Tensor]:
        """real, made `[b c t]` -> the terms, each the mean over its windows."""
        settings = self.config
        flux = settings.flux_windows if settings.flux else ()
        with torch.autocast(real.device.type, enabled=False):
            real, made = self._views(real.float(), made.float())
            spectra = {window: (self._magnitude(real, window), self._magnitude(made, window))
                       for window in {*settings.windows, settings.mel_window, *flux}}
            pairs = [spectra[window] for window in settings.windows]
            x, y = spectra[settings.mel_window]
            terms = {
                # over the whole batch: clip by clip, the quiet ones would outweigh all the rest
                "convergence": mean((x - y).norm() / (x.norm() + 1e-2) for x, y in pairs),
                "log_magnitude": mean(log_ratio(x, y, settings.floor).abs().mean() for x, y in pairs),
                "partials": mean(self._by_pitch(log_ratio(x, y, settings.loud).abs(), window)
                                 for window, (x, y) in zip(settings.windows, pairs)),
                "log_mel": log_ratio(x @ self.mel, y @ self.mel, settings.floor).abs().mean(),
            }
            if flux:
                changes = {window: log_ratio(*spectra[window], settings.loud).diff(dim=1) for window in flux}
                terms["flux"] = mean(self._by_pitch(change.abs(), window) for window, change in changes.items())
        return terms

    def _by_pitch(self, errors: Tensor, window: int) -> Tensor:
        """`[b n f]` -> their mean, octaves weighing alike."""
        return (errors.mean((0, 1)) * getattr(self, f"pitches{window}")).sum()

    def _views(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """`[b c t]` -> `[b t]`: of half the clips the mono mix, of the others one channel, drawn at random."""
        b, c, _ = real.shape
        mix = torch.full((c,), 1 / c, device=real.device)
        one = nn.functional.one_hot(torch.randint(c, (b,), device=real.device), c).float()
        weights = torch.where(torch.rand(b, 1, device=real.device) < 0.5, mix, one)
        return torch.einsum("bct,bc->bt", real, weights), torch.einsum("bct,bc->bt", made, weights)

    def _magnitude(self, audio: Tensor, window: int) -> Tensor:
        """`[b t]` -> `[b n f]`, a full-scale sine being 1."""
        frames = audio.unfold(-1, window, window // 4) * getattr(self, f"window{window}")
        return torch.fft.rfft(frames).abs().clamp_min(1e-6) * (4 / window)


def log_ratio(x: Tensor, y: Tensor, floor: float) -> Tensor:
    """Difference of the logarithms of two magnitudes, both raised by `floor`."""
    return (x + floor).log() - (y + floor).log()


def mean(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()


def by_pitch(sample_rate: int, window: int, low: float = 30.0, even: float = 110.0, high: float = 5_000.0) -> Tensor:
    """Weights `[f]` of a spectrum's bins, of sum 1, that count every octave from `even` to `high` Hz alike: where the
    notes are, which is a tenth of the bins. Below `low` and above `high` they are 0."""
    hertz = torch.linspace(0, sample_rate / 2, window // 2 + 1)
    weights = ((hertz >= low) & (hertz <= high)) / hertz.clamp_min(even)
    return weights / weights.sum().clamp_min(1e-9)
