"""What the two codec pairs share: `spectral-v5`, 44.1 kHz mono, as users call it."""

from contest.pair import Tasks


def spectral(seconds: float, dtype: str) -> Tasks:
    import torch

    from orchestrion.audio import Audio
    from orchestrion.playing.model import Model

    model = Model.load("spectral-v5", device="cpu", dtype=dtype)
    audio = Audio(0.1 * torch.randn(1, round(seconds * model.sample_rate)), model.sample_rate)
    latents = model.encode(audio)
    return Tasks.of(model.system, encode=lambda: model.encode(audio),
                    decode=lambda: list(model.stream(latents, audio.samples.shape[-1])))
