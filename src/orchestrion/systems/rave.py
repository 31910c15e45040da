"""RAVE (Caillon & Esling, 2021): an autoencoder of any sound that plays live, and latents for other generators.

    audio ── 16 bands ── encoder ──► z, 20 to 90 a second ── decoder, noise ──► 16 bands ──► audio

Two stages: `representation` trains everything by spectra and ends with the analysis of the latents; `adversarial`
freezes the encoder and trains the decoder against critics. The second follows the first by itself; `--stage
representation` stops before it. `v1` to `v3` are the reference's configurations, with the weights that are effective
there (see objectives/rave.py); nano, tiny and small are ours. To play live: `--set system.codec.causal=true`. Stereo,
or 48 kHz: `--set system.codec.channels=2`, `--set system.codec.sample_rate=48000`.
"""

from dataclasses import replace

from orchestrion.codecs.rave import (
    QuantisedConfig,
    RaveConfig,
    RaveNoiseConfig,
    RaveV1Config,
    RaveV2Config,
    WassersteinConfig,
)
from orchestrion.objectives.rave import RaveCriticsConfig, RaveObjectiveConfig
from orchestrion.systems.system import Recipe, Stage, SystemConfig, system

V2 = RaveV2Config()
CODECS = {
    "nano": RaveConfig(latents=16, net=RaveV2Config(capacity=16, ratios=(4, 4, 2), dilations=((1, 3), (1,), (1,)))),
    "tiny": RaveConfig(latents=32, net=RaveV2Config(capacity=32, ratios=(4, 4, 2), dilations=((1, 3), (1, 3), (1, 3)),
                                                    noise=RaveNoiseConfig(hidden=32))),
    "small": RaveConfig(latents=64, net=RaveV2Config(capacity=64, ratios=(4, 4, 2, 2))),
    "v1": RaveConfig(net=RaveV1Config()),
    "v2": RaveConfig(),
    "v2_small": RaveConfig(net=RaveV2Config(capacity=48, ratios=(4, 2, 2, 2),
                                            noise=RaveNoiseConfig(hidden=64, bands=32))),
    "discrete": RaveConfig(net=replace(V2, ratios=(4, 4, 2, 2)), bottleneck=QuantisedConfig()),
    "wasserstein": RaveConfig(latents=16, bottleneck=WassersteinConfig()),
    "v3": RaveConfig(net=replace(V2, snake=True, adain=True)),
}
CRITICS = {
    "nano": RaveCriticsConfig(width=8, layers=3, scales=1, periods=(2, 3)),
    "tiny": RaveCriticsConfig(width=16, scales=2, periods=(2, 3, 5), spectral_windows=(1024,), every=2),
    "small": RaveCriticsConfig(width=32, spectral_windows=(2048, 512)),
    "v1": RaveCriticsConfig(periods=(), every=2, relative=False, skip=0),
    "v2_small": RaveCriticsConfig(every=2),
    "discrete": RaveCriticsConfig(skip=0),
    "v3": RaveCriticsConfig(width=32, scales=0, band_windows=(2048, 1024, 512)),
}
SCHEDULE = {  # steps of the first stage, of the second, batch, seconds a crop
    "nano": (300, 100, 2, 0.75), "tiny": (6_000, 4_000, 4, 0.75), "small": (200_000, 200_000, 8, 2.0),
    "discrete": (200_000, 2_000_000, 8, 2.97), "wasserstein": (200_000, 2_000_000, 8, 2.97),
}
HASTE = {"tiny": 4e-4}  # learning rate of the second stage, where it has minutes instead of days
PUBLISHED = (1_000_000, 2_000_000, 8, 2.97)  # 131072 samples


@system("rave", sizes=tuple(CODECS))
def rave(size: str) -> Recipe:
    first, second, batch, crop = SCHEDULE.get(size, PUBLISHED)
    spectra = objective(size)
    against = replace(spectra, critics=CRITICS.get(size, RaveCriticsConfig()))
    if size == "tiny":  # spectra alone would rather have the treble too soft than noisy (docs/rave.md)
        against = replace(against, spectral=0.25)
    representation = Stage(name="representation", trains="codec", objective=spectra, crop=crop, batch=batch,
                           steps=first, learning_rate=1e-3, betas=(0.5, 0.9), clip=10.0, fit=True)
    # the reference freezes the encoders of continuous latents, and goes on training the one of tokens
    trains = "codec" if size == "discrete" else "codec.decoder"
    rate = HASTE.get(size, 1e-4)
    adversarial = replace(representation, name="adversarial", trains=trains, objective=against, steps=second,
                          learning_rate=rate, critic_rate=rate, schedule="constant", fit=False)
    return Recipe(system=SystemConfig(codec=CODECS[size]), stages=(representation, adversarial))


def objective(size: str) -> RaveObjectiveConfig:
    """Losses of the first stage, and the weights of the second."""
    fixed = {"v1": 0.1, "discrete": 0.1, "wasserstein": 100.0, "v2_small": 0.01}
    if size in fixed:
        settings = RaveObjectiveConfig(regular=fixed[size], regular_start=fixed[size], regular_steps=1)
    elif size in ("v2", "v3"):
        settings = RaveObjectiveConfig()
    else:
        settings = RaveObjectiveConfig(regular=0.01, regular_steps=SCHEDULE[size][0] // 2, feature_matching=20.0)
    if size == "tiny":  # what counts in minutes: what is very soft counts little, and fewer windows are more steps
        return replace(settings, windows=(2048, 512, 128), epsilon=0.003, regular=1e-3)
    if size == "v1":
        return replace(settings, feature_matching=100.0)
    if size == "discrete":
        return replace(settings, epsilon=1.0)
    return replace(settings, spectral=2.0, adversarial=4.0) if size == "wasserstein" else settings
