"""One clip, over and over: what every generative system must be able to learn."""

import torch

from orchestrion.contracts import Batch, Prompt
from plucks import pluck_tune


def one_clip(codec, stage, seed=0):
    """audio `[1 c t]` as long as the stage's crop."""
    multiple = codec.multiple_of
    length = -(-round(stage.crop * codec.sample_rate) // multiple) * multiple
    tune = pluck_tune(length / codec.sample_rate + 0.05, codec.sample_rate, seed)[: codec.channels, :length]
    return torch.from_numpy(tune)[None]


def train(system, stage, batch, steps):
    """Steps of the stage's objective on the same batch. -> the first and the last losses, ten each."""
    torch.manual_seed(0)
    system.requires_grad_(False)
    part = system.trained(stage).requires_grad_(True).train()
    objective = stage.objective.build(system)
    optimiser = torch.optim.AdamW(part.parameters(), stage.learning_rate, stage.betas, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, stage.learning_rate, steps)
    losses = []
    for step in range(steps):
        for _, terms in objective.losses(batch, step):
            total = sum(objective.weights[name] * term for name, term in terms.items()
                        if name in objective.weights)
            optimiser.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(part.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        losses.append(total.item())
    system.eval().requires_grad_(False)
    return sum(losses[:10]) / 10, sum(losses[-10:]) / 10


def batch_of(clip, size, text=None, latents=None):
    prompts = [Prompt(text=text)] * size
    if latents is not None:
        return Batch(latents=latents.expand(size, *latents.shape[1:]), prompts=prompts)
    return Batch(audio=clip.expand(size, -1, -1), prompts=prompts)


def distance(made, clip):
    """The error's share of the clip's energy: 0 the same, 1 as far as silence."""
    return ((made - clip).square().sum() / clip.square().sum()).item()
