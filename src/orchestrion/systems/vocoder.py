"""Vocoder: mel spectrograms to waveforms by diffusion (audio-diffusion-pytorch's DiffusionVocoder).

    audio ── log mel ──► z          z ── a waveform beside the noise ── U-Net, v-diffusion ──► audio

`paper` is the authors' README: 80 bands, windows of 1024 samples at 48 kHz.
"""

from orchestrion.codecs.vocoder import VocoderConfig
from orchestrion.systems.dmae import codec_stage
from orchestrion.systems.system import Recipe, SystemConfig, system
from orchestrion.systems.upsampler import BATCH, STEPS
from orchestrion.systems.upsampler import CODECS as UPSAMPLERS
from orchestrion.systems.waveform import CONTEXT, NETS

CODECS = {
    "nano": VocoderConfig(sample_rate=44_100, bands=32, n_fft=512, hop=128, overlap=8,
                          levels=UPSAMPLERS["nano"].levels),
    "tiny": VocoderConfig(sample_rate=44_100, levels=NETS["tiny"]),
    "small": VocoderConfig(sample_rate=44_100, channels=2, bands=128, n_fft=2048, hop=512, levels=NETS["small"]),
    "paper": VocoderConfig(channels=2, levels=UPSAMPLERS["paper"].levels),
}


@system("vocoder", sizes=tuple(CODECS))
def vocoder(size: str) -> Recipe:
    codec = CODECS[size]
    return Recipe(system=SystemConfig(codec=codec), stages=(
        codec_stage(size, CONTEXT[size] / codec.sample_rate, STEPS[size], BATCH[size]),))
