"""Sound that is there already, made further: continue, in-paint, vary, brighten, interpolate.

All but the last are one idea (`contracts.Edit`): frames are kept or made anew, the latter from so much noise. What is
kept is then taken from the source itself, sample for sample: the codec's copy of it serves only the generator's ear
and a short cross-fade at each joint.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.audio.levels import CEILING_DB, ceiling_gain, true_peak
from orchestrion.audio.spectra import STFT
from orchestrion.contracts import Edit, Progress, Prompt
from orchestrion.errors import UserError
from orchestrion.playing.chunks import frames_together
from orchestrion.playing.provenance import prompt_record
from orchestrion.playing.room import check_memory_of_audio

if TYPE_CHECKING:
    from orchestrion.playing.model import Model

HEARD = 20.0  # seconds of what is kept that the generator hears, on either side
FADE = 0.03  # seconds of each joint, inside what is kept
SLOPE = 1.12  # width of the crossing, as a ratio of frequencies, where a treble made anew joins the rest
BLEND = 1.0  # seconds beside what is encoded, for the codec's context


@dataclass(frozen=True)
class How:
    """What every edit may be told besides. prompt: words, or a `Prompt`. options: by the generator's own names."""

    seed: int = 0
    prompt: str | Prompt | None = None
    options: Mapping[str, Any] | None = None
    progress: Progress | None = None


def continue_audio(model: "Model", audio: Audio, duration: float = 10.0, how: How | None = None) -> Audio:
    """The clip, and `duration` seconds more that follow from it."""
    from orchestrion.playing.model import check_duration

    check_capability(model, "continue")
    check_duration(duration)
    source = fitting(model, audio)
    frame = model.system.codec.frame
    # the last whole frame may have heard the end: it is made anew, and faded into
    start = max(source.samples.shape[1] // frame - 1, 0)
    end = source.samples.shape[1] + max(1, round(duration * model.sample_rate))
    check_memory_of_audio(end, model.channels)
    made = _replace(model, source, start, -(-end // frame), end, 1.0, how or How())
    return _signed(model, "continue", made, how, duration=duration)


def inpaint(model: "Model", audio: Audio, start: float, stop: float, how: How | None = None) -> Audio:
    """The clip with the seconds from `start` to `stop` made anew, to fit what is around (to whole latent frames)."""
    check_capability(model, "inpaint")
    source = fitting(model, audio)
    if not 0 <= start < stop <= audio.duration + 1e-6:
        raise UserError("in-painting replaces from one second to a later one within the file's "
                        f"{audio.duration:.2f} s; got {start:g} to {stop:g}")
    frame, length = model.system.codec.frame, source.samples.shape[1]
    first = math.floor(start * model.sample_rate / frame)
    last = math.ceil(min(stop * model.sample_rate, length) / frame)
    made = _replace(model, source, first, last, length, 1.0, how or How())
    return _signed(model, "inpaint", made, how, start=start, stop=stop)


def vary(model: "Model", audio: Audio, strength: float = 0.5, how: How | None = None) -> Audio:
    """The clip played otherwise: strength 0 is the codec's copy of it, 1 has nothing to do with it."""
    check_capability(model, "vary")
    if not 0 <= strength <= 1:
        raise UserError(f"the strength of a variation is a number from 0 to 1, not {strength:g}")
    source = fitting(model, audio)
    length = source.samples.shape[1]
    made = _replace(model, source, 0, -(-length // model.system.codec.frame), length, strength, how or How())
    return _signed(model, "vary", made, how, strength=strength)


def brighten(model: "Model", audio: Audio, above: float | None = None, how: How | None = None) -> Audio:
    """The clip with what is higher than `above` Hz made anew to fit what is lower (super-resolution: AudioLDM in-paints
    the upper rows of the mel image). above None: half the clip's own sample rate, where the model has a higher one."""
    check_capability(model, "inpaint")
    codec = model.system.codec
    bands: Any = getattr(codec, "centres", None)
    if bands is None:
        raise UserError(f"{model.name} can't make the treble alone anew ({type(codec).__name__} has no bands of "
                        "frequency); name a model over mel images, such as audioldm or audio-diffusion")
    if above is None and audio.sample_rate >= model.sample_rate:
        raise UserError(f"the clip has {audio.sample_rate} Hz, as many as {model.name} or more: say by --above from "
                        "which frequency on it is to be made anew")
    centres, above = bands().cpu(), audio.sample_rate / 2 if above is None else above
    if not centres[0] < above < centres[-1]:
        raise UserError(f"{model.name}'s bands lie between {centres[0]:.0f} and {centres[-1]:.0f} Hz: the treble can't "
                        f"begin at {above:g} Hz")
    how, source = how or How(), fitting(model, audio)
    length, step = source.samples.shape[1], _step(model)
    frames = -(-length // codec.frame)
    latents = _fill(model.encode(source), -(-frames // step) * step)
    keep = ((centres < above)[:, None] & (torch.arange(latents.shape[-1]) < frames))[None]
    edit, options = Edit(latents.to(model.device), keep.to(model.device)), model.options(how.options)
    with torch.inference_mode(), model._precision():
        conditioning = model._condition([_prompt(how)])
        made = model.generator.sample(latents.shape[-1], conditioning, [how.seed], options, edit, how.progress)
    near = torch.cat([block.float().cpu() for block in model.stream(made.float(), length, how.seed)], -1)
    near = like(source.samples, near)
    rest, treble = crossed(source.samples, near, above / model.sample_rate)
    room = 10 ** (CEILING_DB / 20) - true_peak(rest)  # the rest stays as it is
    samples = rest + treble * min(1.0, max(room, 0.0) / max(true_peak(treble), 1e-9))
    return _signed(model, "brighten", Audio(samples, model.sample_rate), how, above=above)


def interpolate(model: "Model", first: Audio, second: Audio, share: float = 0.5, how: How | None = None) -> Audio:
    """A clip that lies `share` of the way from the first to the second, as long as the shorter one."""
    check_capability(model, "interpolate")
    if not 0 <= share <= 1:
        raise UserError(f"the share of the second clip is a number from 0 to 1, not {share:g}")
    how = how or How()
    sources = [fitting(model, audio) for audio in (first, second)]
    length = min(source.samples.shape[1] for source in sources)
    step = _step(model)
    frames = math.ceil(length / model.system.codec.frame / step) * step
    a, b = (_fill(model.encode(_cut(source, 0, length)), frames).to(model.device) for source in sources)
    with torch.inference_mode(), model._precision():
        conditioning = model._condition([_prompt(how)])
        options = model.options(how.options)
        made = model.generator.interpolate(a, b, [share], conditioning, options, how.progress)
    return _signed(model, "interpolate", model.decode(made.float(), length, how.seed), how, share=share)


# What they share


def check_capability(model: "Model", verb: str) -> None:
    can = model.capabilities - {"loop"}
    if verb not in can:
        kind = type(model.generator).__name__
        raise UserError(f"{model.name} can't {verb} ({kind} "
                        f"{'can ' + ', '.join(sorted(can)) if can else 'makes new sound only'}); name another model")


def fitting(model: "Model", audio: Audio) -> Audio:
    """At the model's rate, with its channels."""
    if audio.samples.shape[1] == 0:
        raise UserError("there is no sound to edit: the audio has no samples")
    return audio.resample(model.sample_rate).to_channels(model.channels)


def _replace(model: "Model", source: Audio, start: int, stop: int, length: int, strength: float, how: How) -> Audio:
    """Frames `start` to `stop` made anew; -> `length` samples. Only what is near enough to be heard is worked on."""
    frame, step = model.system.codec.frame, _step(model)
    whole = -(-source.samples.shape[1] // frame)  # frames that the source fills, the last perhaps in part
    heard = math.ceil(HEARD * model.sample_rate / frame)
    begin = max(start - heard, 0) // step * step
    end = begin + math.ceil((max(stop, min(stop + heard, whole)) - begin) / step) * step
    margin = math.ceil(BLEND * model.sample_rate / frame / step) * step
    before = min(margin, begin)
    latents = model.encode(_cut(source, (begin - before) * frame, (end + margin) * frame))
    latents = _fill(latents[..., before:], end - begin)
    place = torch.arange(begin, end)
    keep = ((place < start) | (place >= stop)) & (place < source.samples.shape[1] // frame)
    edit = Edit(latents.to(model.device), keep[None].to(model.device), strength)
    options = model.options(how.options)
    with torch.inference_mode(), model._precision():
        conditioning = model._condition([_prompt(how)])
        made = model.generator.sample(end - begin, conditioning, [how.seed], options, edit, how.progress)
    near = torch.cat([block.float().cpu() for block in model.stream(made.float(), seed=how.seed)], -1)
    near = _as_loud(like(source.samples, near), source.samples[:, begin * frame :], keep.repeat_interleave(frame))
    loudest = max(1.0, float(source.samples.abs().max()))  # where the source is beyond full scale, so may the rest be
    near = near * ceiling_gain(true_peak(near) / loudest, CEILING_DB)
    samples = joined(source.samples, near, begin * frame, start * frame, min(stop * frame, length), length,
                     round(FADE * model.sample_rate))
    return Audio(samples, model.sample_rate)


def _as_loud(made: Tensor, source: Tensor, kept: Tensor) -> Tensor:
    """The codec's copy made as loud as the source `[c t]` where both have what is kept `[t]`: some forget the level."""
    length = min(made.shape[1], source.shape[1], len(kept))
    pair = torch.stack([made[:, :length], source[:, :length]])[..., kept[:length]]
    copy, real = (float(x.square().mean().sqrt()) if x.numel() else 0.0 for x in pair)
    return made * (real / copy) if min(copy, real) > 1e-4 else made


def like(source: Tensor, made: Tensor) -> Tensor:
    """made `[c t]`, its channels all their mean where the source's `[c u]` are all the same, unless silent: some codecs
    make up a stereo image, which a mono recording hasn't."""
    mono = bool((source == source[:1]).all() and source.any())
    return made.mean(0, keepdim=True).expand_as(made) if mono else made


def joined(source: Tensor, made: Tensor, offset: int, start: int, stop: int, length: int, fade: int) -> Tensor:
    """Source `[c t]` with its samples `start` to `stop` from `made` `[c u]`, whose first sample stands at `offset`.

    Kept samples are the source's own, but for `fade` samples beside each joint. -> `[c length]`.
    """
    out = torch.zeros(source.shape[0], length)
    kept = min(source.shape[1], length)
    out[:, :kept] = source[:, :kept]
    out[:, start:stop] = made[:, start - offset : stop - offset]
    first = max(start - fade, offset, 0)
    if start > first:
        out[:, first:start] = crossfade(source[:, first:start], made[:, first - offset : start - offset])
    last = min(stop + fade, kept, offset + made.shape[1])
    if stop < last:
        out[:, stop:last] = crossfade(made[:, stop - offset : last - offset], source[:, stop:last])
    return out


def crossed(low: Tensor, high: Tensor, at: float) -> tuple[Tensor, Tensor]:
    """What `low` `[c t]` has under the frequency `at` (in cycles a sample), and what `high` has above it, as loud as
    goes with `low` by what both have under it."""
    stft = STFT(2048, 512)
    spare = 2048 - low.shape[-1] % 512
    lower, upper = (stft(torch.nn.functional.pad(part, (0, spare))) for part in (low, high))
    place = torch.linspace(0, 0.5, lower.shape[-2])[:, None]
    share = ((place / at).clamp_min(1e-6).log() / math.log(SLOPE) + 1).clamp(0, 1)  # 0 a slope below, 1 from `at` on
    rising = (share * math.pi / 2).sin().square()
    both = [float((part.abs().square() * (1 - rising)).mean().sqrt()) for part in (lower, upper)]
    gain = both[0] / both[1] if min(both) > 1e-4 else 1.0
    return (stft.inverse(lower * (1 - rising), low.shape[-1]), stft.inverse(gain * upper * rising, low.shape[-1]))


def closed(audio: Tensor, start: int, stop: int, fade: int) -> Tensor:
    """The loop `start` to `stop` of `[c t]`, which goes on alike after it; what follows fades into its start."""
    turn, fade = audio[:, start:stop], min(fade, audio.shape[1] - stop, (stop - start) // 2)
    return torch.cat([crossfade(audio[:, stop : stop + fade], turn[:, :fade]), turn[:, fade:]], 1)


def crossfade(old: Tensor, new: Tensor) -> Tensor:
    """`[c t]` from old to new, as loud throughout as they are: the gains follow how alike the two are."""
    angle = torch.linspace(0, math.pi / 2, old.shape[1] + 2)[1:-1]
    falling, rising = angle.cos(), angle.sin()
    power = (old.square().sum() * new.square().sum()).sqrt()
    alike = float(((old * new).sum() / power).clamp(0, 1)) if power > 0 else 1.0
    total = (1 + 2 * alike * falling * rising).sqrt()
    return (falling * old + rising * new) / total


def _signed(model: "Model", verb: str, made: Audio, how: How | None, **numbers: float) -> Audio:
    how = how or How()
    settings, prompt = model.options(how.options), prompt_record(_prompt(how))
    return replace(made, provenance=model.record(verb, settings, seed=how.seed, prompt=prompt, **numbers))


def _step(model: "Model") -> int:
    return math.lcm(model.generator.multiple_of, frames_together(model.system.codec))


def _cut(audio: Audio, start: int, stop: int) -> Audio:
    return Audio(audio.samples[:, start:stop], audio.sample_rate)


def _fill(latents: Tensor, frames: int) -> Tensor:
    """Exactly `frames` frames: cut, or followed by zeros (which are never kept)."""
    return torch.nn.functional.pad(latents, (0, max(frames - latents.shape[-1], 0)))[..., :frames]


def _prompt(how: How) -> Prompt:
    return how.prompt if isinstance(how.prompt, Prompt) else Prompt(text=how.prompt)
