"""HiFi-GAN (Kong et al., 2020): a vocoder, mel images to waveforms by transposed convolutions and two kinds of critics.

    audio ── mel image ──► z [b 1 f n] ── ×8, ×8, ×4, ×4 ──► audio

`nano`, `tiny` and `small` speak the mel images of audio-diffusion in the same size, so that `train audio-diffusion
--from RUN` generates through them; `paper` is the authors' V1 for 22.05 kHz. (`vocoder` is another one, by diffusion.)
"""

from orchestrion.codecs.hifigan import HifiGanConfig
from orchestrion.codecs.log_mel import LogMelConfig
from orchestrion.nn.hifigan import HifiGanNetConfig
from orchestrion.objectives.hifigan import HifiGanCriticsConfig, HifiGanObjectiveConfig
from orchestrion.systems import audio_diffusion
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

RATES, KERNELS = (8, 8, 4, 4), (16, 16, 8, 8)  # for columns of 1024 samples
NETS = {
    "nano": HifiGanNetConfig(channels=128, rates=RATES, kernels=KERNELS, blocks=(3, 5), dilations=((1, 2), (2, 6)),
                             pairs=False),
    "tiny": HifiGanNetConfig(channels=256, rates=RATES, kernels=KERNELS, blocks=(3, 5, 7),  # the authors' V3 blocks
                             dilations=((1, 2), (2, 6), (3, 12)), pairs=False),
    "small": HifiGanNetConfig(channels=512, rates=RATES, kernels=KERNELS),
    "paper": HifiGanNetConfig(),
}
CODECS = {size: HifiGanConfig(image=audio_diffusion.CODECS[size], net=NETS[size]) for size in ("nano", "tiny", "small")}
CODECS["paper"] = HifiGanConfig(net=NETS["paper"], image=LogMelConfig(
    sample_rate=22_050, bands=80, hop=256, high=8000.0))
OBJECTIVES = {
    "nano": HifiGanObjectiveConfig(
        critics=HifiGanCriticsConfig(period_width=4, periods=(2, 3), scale_width=16, scales=1),
        windows=(512, 2048)),
    "tiny": HifiGanObjectiveConfig(
        critics=HifiGanCriticsConfig(period_width=4, scale_width=16, scales=1, start=2_000, every=2),
        windows=(512, 2048, 4096), mels=128),
    "small": HifiGanObjectiveConfig(windows=(512, 2048, 4096), mels=128),
    "paper": HifiGanObjectiveConfig(),
}


@system("hifigan", sizes=tuple(CODECS))
def hifigan(size: str) -> Recipe:
    return Recipe(system=SystemConfig(codec=CODECS[size]), stages=(vocoder_stage(size, "codec.net"),))


def vocoder_stage(size: str, trains: str, name: str = "vocoder") -> Stage:
    """trains: the generator's place in the system."""
    steps, batch, crop, rate = {"nano": (300, 4, 0.2, 1e-3), "tiny": (10_000, 4, 0.75, 1e-3),
                                "small": (500_000, 16, 0.75, 2e-4), "paper": (2_500_000, 16, 8192 / 22_050, 2e-4)}[size]
    return Stage(name=name, trains=trains, objective=OBJECTIVES[size], crop=crop, batch=batch, steps=steps,
                 learning_rate=rate, betas=(0.8, 0.99), weight_decay=0.01, warmup=0 if size == "paper" else 100,
                 schedule="constant" if size == "paper" else "cosine",
                 clip=None if size == "paper" else 10.0, ema=0.999)
