"""What is done to a network's predictions before a solver sees them: guidance, kept parts, windows.

Each takes a `Predict` and gives another, so that they combine with each other and with every solver.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from orchestrion.errors import UserError
from orchestrion.sampling.diffusion import Draw, Predict, Solver, Tell, add_noise, renoise
from orchestrion.sampling.parameterisations import Prediction, clipped
from orchestrion.sampling.paths import Level
from orchestrion.sampling.schedules import Schedule


def guided(prompted: Predict, unprompted: Predict, scale: float, rescale: float = 0.0) -> Predict:
    """Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, eq. 6, where scale = 1 + w).

    rescale: how far the data's deviation is brought back to the prompted one's, 0 to 1 (Lin et al. 2023, eq. 15-16).
    """
    if scale == 1:
        return prompted

    def predict(x: Tensor, level: Level) -> Prediction:
        wanted, free = prompted(x, level), unprompted(x, level)
        data = torch.lerp(free.data, wanted.data, scale)
        if not rescale:
            return Prediction(data, torch.lerp(free.noise, wanted.noise, scale))
        axes = tuple(range(1, data.ndim))
        factor = wanted.data.std(axes, keepdim=True) / data.std(axes, keepdim=True).clamp_min(1e-8)
        data = data * torch.lerp(torch.ones_like(factor), factor, rescale)
        return Prediction(data, (x - level.alpha * data) / level.sigma)

    return predict


def switching(early: Predict, late: Predict, time: float) -> Predict:
    """One prediction above a time of the path, where x is noisier, and another from there on."""
    return lambda x, level: (early if level.time > time else late)(x, level)


def clipping(predict: Predict, limit: float, keep_noise: bool = False) -> Predict:
    """The predicted data held within ± limit."""
    return lambda x, level: clipped(predict(x, level), x, level, limit, keep_noise)


def keeping(predict: Predict, source: Tensor, noise: Tensor, keep: Tensor) -> Predict:
    """In-painting by replacement: where `keep` is True the network always sees the source, noised as the level has
    it, and is believed to have seen it (Song et al. 2021, arXiv 2011.13456, appendix I.2).

    source, noise: as x. keep: bool, broadcasts to x. A deterministic solver then carries the kept part along its
    exact path; with a stochastic one it is put right at every evaluation, and at the end by the caller.
    """

    def inner(x: Tensor, level: Level) -> Prediction:
        made = predict(torch.where(keep, add_noise(source, noise, level), x), level)
        return Prediction(torch.where(keep, source, made.data), torch.where(keep, noise, made.noise))

    return inner


def resampled(solver: Solver, times: int) -> Solver:
    """Every step but the last taken `times` times, going back to its noise level between them, so that what is made
    fits what is kept (RePaint: Lugmayr et al. 2022, arXiv 2201.09865, algorithm 1 with jumps of one step)."""
    if times < 1:
        raise UserError(f"in-painting takes each step at least once, not {times} times")
    if times == 1:
        return solver

    def solve(predict: Predict, x: Tensor, schedule: Schedule, draw: Draw, tell: Tell | None = None) -> Tensor:
        for i, (now, then) in enumerate(pairwise(schedule.levels)):
            step = Schedule(schedule.path, (now, then))
            for turn in range(times):
                x = solver(predict, x, step, draw)
                if turn + 1 == times or not then.sigma:
                    break
                x = renoise(x, draw, then, now)
            if tell:
                tell(i + 1)
        return x

    return solve


def windowed(predict: Predict, context: int, overlap: int, loop: bool = False, together: int = 1) -> Predict:
    """Any length from a network that sees `context` frames: windows overlap and their predictions are cross-faded at
    every step, so that all of a piece comes into being at once and has no joints (MultiDiffusion: Bar-Tal et al.
    2023, arXiv 2302.08113, eq. 7).

    x is `[b … n]`. loop: windows go round, so that the end runs into the beginning. together: how many windows are
    predicted at once; `predict` then gets `[together·b …]`, window by window.
    """

    def inner(x: Tensor, level: Level) -> Prediction:
        frames = x.shape[-1]
        if frames <= context and not loop:
            return predict(x, level)
        size = min(context, frames)
        starts = window_starts(frames, size, min(overlap, size // 2), loop)
        return blended(x, starts, size, min(overlap, size // 2), lambda cut, _: predict(cut, level), together)

    return inner


def blended(x: Tensor, starts: Sequence[int], size: int, overlap: int,
            predict: Callable[[Tensor, Sequence[int]], Prediction], together: int = 1) -> Prediction:
    """Predictions of the windows of x `[b … n]` that begin at `starts` (past the end they go round), cross-faded.

    predict: some windows `[w·b … size]`, window by window, and their starts -> their prediction.
    """
    frames, clips = x.shape[-1], len(x)
    fade = fade_window(size, overlap).to(x)
    data, noise = torch.zeros_like(x), torch.zeros_like(x)
    total = x.new_zeros(frames)
    for first in range(0, len(starts), together):
        group = starts[first : first + together]
        places = [(torch.arange(size, device=x.device) + start) % frames for start in group]
        made = predict(torch.cat([x[..., place] for place in places]), group)
        for place, of_data, of_noise in zip(places, made.data.split(clips), made.noise.split(clips)):
            # at a piece's own ends nothing fades: the division below makes up for it
            data.index_add_(-1, place, fade * of_data)
            noise.index_add_(-1, place, fade * of_noise)
            total.index_add_(0, place, fade)
    return Prediction(data / total, noise / total)


def window_starts(frames: int, size: int, overlap: int, loop: bool) -> Sequence[int]:
    """Where windows of `size` frames begin, as evenly as may be, each overlapping the next by at least `overlap`."""
    step = size - overlap
    if loop:
        count = max(1 if frames <= overlap else 2, -(-frames // step))
        return [round(i * frames / count) for i in range(count)]
    count = max(1, -(-(frames - overlap) // step))
    return [round(i * (frames - size) / max(count - 1, 1)) for i in range(count)]


def fade_window(size: int, overlap: int) -> Tensor:
    """`[size]`: rises over `overlap` frames and falls likewise, never 0."""
    rise = (torch.arange(size) + 0.5) / max(overlap, 1)
    return torch.minimum(rise, rise.flip(0)).clamp(max=1)


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Between two noises `[b …]` on the great circle, clip by clip, so that what lies between is as loud as noise
    (Shoemake 1985)."""
    a, b = first.flatten(1), second.flatten(1)
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)
    angle = cosine.clamp(-1, 1).acos()
    near = angle.sin() < 1e-4  # parallel: a straight line
    left = torch.where(near, torch.full_like(angle, 1 - share), ((1 - share) * angle).sin() / angle.sin())
    right = torch.where(near, torch.full_like(angle, share), (share * angle).sin() / angle.sin())
    shape = (-1, *[1] * (first.ndim - 1))
    return left.view(shape) * first + right.view(shape) * second


def invert(predict: Predict, data: Tensor, schedule: Schedule, tell: Tell | None = None) -> Tensor:
    """DDIM backwards: data -> the x at the schedule's first level that leads to it (Song et al. 2020, §5.4).

    Each step uses the prediction at its noisier end, found by three fixed-point iterations, so that going forward
    again by `euler` comes back (plain backward Euler evaluates at the cleaner end and drifts).
    """
    x = data
    levels = tuple(reversed(schedule.levels))
    for i, (now, then) in enumerate(pairwise(levels)):
        guess = x
        for _ in range(3):
            made = predict(guess, then)
            guess = x + (then.alpha - now.alpha) * made.data + (then.sigma - now.sigma) * made.noise
        x = guess
        if tell:
            tell(i + 1)
    return x
