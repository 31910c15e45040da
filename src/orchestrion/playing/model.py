"""`Model`: a trained system in the user's hands."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.audio.files import Writer
from orchestrion.audio.levels import below_ceiling
from orchestrion.contracts import Conditioning, Exact, Generator, Progress, Prompt
from orchestrion.devices import choose_device, choose_dtype
from orchestrion.errors import UserError, did_you_mean
from orchestrion.playing import edits
from orchestrion.playing.chunks import decode_chunks, encode_chunks, frames_together, reach
from orchestrion.playing.provenance import prompt_record, provenance
from orchestrion.playing.room import check_disk, check_memory
from orchestrion.systems.folder import About, LoadedModel, load_model, weights_hash
from orchestrion.systems.shelf import HUB, aliases, bundled_models, find_model
from orchestrion.systems.system import System

MAX_SEED = 2**63 - 1


class Model:
    """Generates, encodes and decodes. Made by `load`; every sound that it gives says how it was made.

    The same seed gives the same clip: sample for sample on one machine with one precision and number of
    threads; alone or in a batch, within 1e-3 of full scale in float32 (matrix products round differently
    by batch size).
    """

    def __init__(self, system: System, about: About, sha256: str = "", source: str | None = None,
                 device: str = "auto", dtype: str = "auto") -> None:
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.system = system.to(self.device).eval()
        self.about, self.sha256 = about, sha256
        self.name = about.name
        self.source = source or about.name  # what `load` takes to find it again

    @classmethod
    def load(cls, name: str | Path = "piano", device: str = "auto", dtype: str = "auto") -> "Model":
        """A bundled model by name, a model folder, or `hf:owner/name`.

        device: auto, cpu, cuda, cuda:1, mps. dtype: auto (bfloat16 where it is faster), float32, bfloat16.
        """
        folder = find_model(name)
        loaded: LoadedModel = load_model(folder)
        named = str(name).startswith(HUB) or folder in bundled_models().values()
        source = aliases().get(str(name), str(name)) if named else str(folder.resolve())
        return cls(loaded.system, loaded.about, loaded.sha256, source, device, dtype)

    @cached_property
    def codec_sha256(self) -> str:
        """Of the codec's weights alone: latents fit any model that has the same."""
        state = self.system.codec.state_dict()
        return weights_hash({f"codec.{name}": value for name, value in state.items()})

    @property
    def sample_rate(self) -> int:
        return self.system.codec.sample_rate

    @property
    def channels(self) -> int:
        return self.system.codec.channels

    @property
    def generator(self) -> Generator:
        if self.system.generator is None:
            raise UserError(f"{self.name} is a codec: it encodes and decodes, but has nothing to generate with")
        return self.system.generator

    @property
    def capabilities(self) -> frozenset[str]:
        """Verbs beside generating that this model can do: "loop", "continue", …"""
        return self.system.generator.capabilities if self.system.generator else frozenset()

    # Generating

    def generate(self, prompt: str | Prompt | None = None, duration: float = 20.0, seed: int = 0,
                 options: Mapping[str, Any] | None = None, progress: Progress | None = None,
                 loop: bool = False) -> Audio:
        """One clip of `duration` seconds.

        options: by the generator's own names (`steps`, `variety`, …). loop: the clip's end runs into its
        beginning, and its duration is the nearest that the generator can loop.
        """
        return self.generate_batch([prompt], duration, [seed], options, progress, loop)[0]

    def generate_batch(self, prompts: Sequence[str | Prompt | None], duration: float, seeds: Sequence[int],
                       options: Mapping[str, Any] | None = None, progress: Progress | None = None,
                       loop: bool = False) -> list[Audio]:
        """One clip for every prompt, each from its own seed, sampled together."""
        settings = self.options(options, loop)
        latents = self.sample(prompts, duration, seeds, settings, progress)
        clips = []
        for prompt, seed, clip in zip(prompts, seeds, latents.split(1)):
            samples = torch.cat([block.cpu() for block in self._blocks(clip, duration, seed, loop)], dim=-1)
            clips.append(Audio(below_ceiling(samples), self.sample_rate,
                               self._generated(prompt, duration, seed, settings, loop)))
        return clips

    def write_batch(self, paths: Sequence[Path], prompts: Sequence[str | Prompt | None], duration: float,
                    seeds: Sequence[int], options: Mapping[str, Any] | None = None,
                    progress: Progress | None = None, command: str | None = None, loop: bool = False) -> None:
        """Like `generate_batch`, but each clip goes to its file while it is decoded, so that memory stays
        bounded at any length. A file appears when it is complete. command: recorded in its tags."""
        settings = self.options(options, loop)
        check_disk(paths, self._samples(duration), self.channels)
        share = 0.8  # of the time that sampling takes, roughly
        latents = self.sample(prompts, duration, seeds, settings,
                              (lambda done: progress(share * done)) if progress else None)
        total, written = latents.shape[0] * latents.shape[-1] * self.system.codec.frame, 0
        for path, prompt, seed, clip in zip(paths, prompts, seeds, latents.split(1)):
            record = self._generated(prompt, duration, seed, settings, loop, command)
            with Writer(path, self.sample_rate, self.channels, record) as writer:
                for block in self._blocks(clip, duration, seed, loop):
                    writer.write(block)
                    written += block.shape[-1]
                    if progress:
                        progress(share + (1 - share) * written / total)

    @torch.inference_mode()
    def sample(self, prompts: Sequence[str | Prompt | None], duration: float, seeds: Sequence[int],
               options: Any = None, progress: Progress | None = None) -> Tensor:
        """Latents `[b d n]` or tokens `[b k n]` of at least `duration` seconds, one clip per seed.

        options: the generator's own dataclass, from `options`.
        """
        for seed in seeds:
            check_seeds(seed)
        loop = getattr(options, "loop", False)
        frames = self._whole_frames(math.ceil(self._samples(duration) / self.system.codec.frame), loop)
        check_memory(self.system.codec.space, frames, len(seeds))
        if loop:
            duration = frames * self.system.codec.frame / self.sample_rate
        with self._precision():
            asked = [as_prompt(prompt) for prompt in prompts]
            if self.system.conditioner is not None:
                asked = [self.system.conditioner.complete(prompt, duration, seed, loop)
                         for prompt, seed in zip(asked, seeds)]
            conditioning = self._condition(asked)
            return self.generator.sample(frames, conditioning, list(seeds), options, progress=progress)

    def stream(self, latents: Tensor, length: int | None = None, seed: int = 0) -> Iterator[Tensor]:
        """latents `[1 d n]` of one clip -> its audio `[c t]`, block by block, `length` samples in all."""
        rng = torch.Generator().manual_seed(seed)  # for codecs whose decoder samples

        @torch.inference_mode()
        def decode(chunk: Tensor) -> Tensor:
            with self._precision():
                return self.system.codec.decode(chunk.to(self.device), rng=rng).float()

        left = length
        for block in decode_chunks(self.system.codec, latents, decode):
            block = block if left is None else block[..., :left]
            if block.shape[-1]:
                yield block
            if left is not None:
                left -= block.shape[-1]

    def options(self, given: Mapping[str, Any] | None = None, loop: bool = False) -> Any:
        """The generator's options: its defaults, then the model's own, then the given ones that aren't None.

        Raises `UserError` for an option that this family of generators does not have.
        """
        known = option_names(self.generator)
        wanted = {name: value for name, value in (given or {}).items() if value is not None}
        if loop:
            if "loop" not in self.capabilities:
                raise UserError(f"{self.name} can't loop ({type(self.generator).__name__}); use a model that can")
            wanted["loop"] = True
        for name in wanted:
            if name not in known:
                raise UserError(f"{self.name} has no option {name!r} ({type(self.generator).__name__}); "
                                f"{did_you_mean(name, {*known} - {'loop'})}")
        merged = {name: value for name, value in self.about.defaults.items() if name in known} | wanted
        return self.generator.options(**merged) if known else None

    # Editing

    def continue_audio(self, audio: Audio, duration: float = 10.0, how: edits.How | None = None) -> Audio:
        """The clip, and `duration` seconds more that follow from it; its own samples stay as they are."""
        return edits.continue_audio(self, audio, duration, how)

    def inpaint(self, audio: Audio, start: float, stop: float, how: edits.How | None = None) -> Audio:
        """The clip with the seconds from `start` to `stop` made anew; the other samples stay as they are."""
        return edits.inpaint(self, audio, start, stop, how)

    def vary(self, audio: Audio, strength: float = 0.5, how: edits.How | None = None) -> Audio:
        """The clip played otherwise, or, with a prompt, as the prompt says: strength 0 changes nothing, 1 all."""
        return edits.vary(self, audio, strength, how)

    def brighten(self, audio: Audio, above: float | None = None, how: edits.How | None = None) -> Audio:
        """The clip with what is higher than `above` Hz made anew to fit what is lower."""
        return edits.brighten(self, audio, above, how)

    def interpolate(self, first: Audio, second: Audio, share: float = 0.5, how: edits.How | None = None) -> Audio:
        """What lies `share` of the way from the first clip to the second."""
        return edits.interpolate(self, first, second, share, how)

    # Codec

    @torch.inference_mode()
    def encode(self, audio: Audio) -> Tensor:
        """-> latents `[1 d n]` or tokens `[1 k n]`, on the CPU. Audio is brought to the model's rate and
        channels first."""
        if audio.samples.shape[1] == 0:
            raise UserError("there is no sound to encode: the audio has no samples")
        fitting = audio.resample(self.sample_rate).to_channels(self.channels)
        with self._precision():
            latents = encode_chunks(self.system.codec, fitting.samples.to(self.device))
        return latents.float().cpu() if latents.is_floating_point() else latents.cpu()

    def decode(self, latents: Tensor, length: int | None = None, seed: int = 0) -> Audio:
        """latents `[1 d n]` or tokens `[1 k n]` -> audio, trimmed to `length` samples."""
        samples = torch.cat([block.cpu() for block in self.stream(latents, length, seed)], dim=-1)
        return Audio(below_ceiling(samples), self.sample_rate, self.record("decode", seed=seed))

    def reconstruct(self, audio: Audio) -> Audio:
        """Through the codec and back: the best that any generator over it can sound. Mono stays mono, in however many
        channels."""
        length = round(audio.samples.shape[1] * self.sample_rate / audio.sample_rate)
        blocks = [block.cpu() for block in self.stream(self.encode(audio), length)]
        samples = edits.like(audio.samples, torch.cat(blocks, dim=-1))
        return Audio(below_ceiling(samples), self.sample_rate, self.record("reconstruct"))

    # Inside

    def _blocks(self, latents: Tensor, duration: float, seed: int, loop: bool) -> Iterator[Tensor]:
        """One clip's audio `[c t]`, block by block, `duration` seconds or one whole turn of a loop."""
        if not loop:
            yield from self.stream(latents, self._samples(duration), seed)
            return
        codec = self.system.codec
        step = frames_together(codec)
        around = min(-(-reach(codec) // step) * step, latents.shape[-1])  # the end, heard before the start
        turned = torch.cat([latents[..., -around:], latents, latents[..., :around]], dim=-1)
        skip, left = around * codec.frame, latents.shape[-1] * codec.frame
        if not isinstance(codec.chunking, Exact):  # its phases don't come round by themselves
            whole = torch.cat([block.cpu() for block in self.stream(turned, seed=seed)], dim=-1)
            yield edits.closed(whole, skip, skip + left, round(edits.FADE * self.sample_rate))
            return
        for block in self.stream(turned, seed=seed):
            kept = block[..., skip : skip + left]
            skip, left = max(0, skip - block.shape[-1]), left - kept.shape[-1]
            if kept.shape[-1]:
                yield kept

    def _generated(self, prompt: str | Prompt | None, duration: float, seed: int, settings: Any, loop: bool,
                   command: str | None = None) -> dict[str, Any]:
        return self.record("loop" if loop else "generate", settings, duration=duration, seed=seed,
                           prompt=prompt_record(as_prompt(prompt)), command=command)

    def record(self, verb: str, settings: Any = None, **what: Any) -> dict[str, Any]:
        """Provenance of something that this model made."""
        given = dataclasses.asdict(settings) if settings is not None else {}
        numbers = {"device": str(self.device), "dtype": str(self.dtype).removeprefix("torch.")}
        return provenance(verb, self.name, self.sha256, self.about.licence, settings=given | numbers, **what)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def _samples(self, duration: float) -> int:
        check_duration(duration)
        return max(1, round(duration * self.sample_rate))

    def _whole_frames(self, frames: int, loop: bool) -> int:
        """Rounded up to what both the generator and the codec can take; a loop to the nearest whole turn."""
        step = math.lcm(self.generator.multiple_of, frames_together(self.system.codec))
        if loop:
            step = math.lcm(step, self.generator.loop_of)
            return max(1, round(frames / step)) * step
        return math.ceil(frames / step) * step

    def _condition(self, prompts: list[Prompt]) -> Conditioning:
        conditioner = self.system.conditioner
        if conditioner is not None:
            if any(prompt.negative for prompt in prompts) and "cfg_scale" not in option_names(self.generator):
                raise UserError(f"{self.name} has no guidance ({type(self.generator).__name__}), so nothing leads it "
                                "away from a negative prompt: leave it out")
            return conditioner.guided(prompts)
        if any(prompt_record(prompt) for prompt in prompts):
            raise UserError(f"{self.name} takes no prompt; leave it out")
        return Conditioning()


def check_duration(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise UserError(f"a duration is a number of seconds above 0, not {seconds:g}")


def check_seeds(seed: int, count: int = 1) -> None:
    """That of the first of `count` clips, from which the others count on."""
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"a seed is a whole number from 0 to {MAX_SEED}, not {seed}")
    if seed + count - 1 > MAX_SEED:
        raise UserError(f"{count} clips take the seeds from {seed} on, and {MAX_SEED} is the last there is: start "
                        f"at {MAX_SEED - count + 1} or below")


def check_heard(model: Model, prompt: Prompt) -> None:
    """Refuses words and numbers that the model's conditioner doesn't listen to, and numbers that it never met."""
    conditioner = model.system.conditioner
    if conditioner is None:
        return  # takes no prompt, and says so
    said = {*prompt.attributes, *(["text"] if prompt.text or prompt.negative else [])}
    if deaf := sorted(said - conditioner.hears):
        heard = ", ".join(sorted(conditioner.hears)) or "a sound (--like)"
        raise UserError(f"{model.name} doesn't listen to {', '.join(deaf)}, but to {heard}: ask for that, or leave it "
                        "out")
    conditioner.check(prompt)


def as_prompt(prompt: str | Prompt | None) -> Prompt:
    return prompt if isinstance(prompt, Prompt) else Prompt(text=prompt)


def option_names(generator: Generator) -> list[str]:
    """What a generator's family can be asked for when it samples."""
    if not dataclasses.is_dataclass(generator.options):
        return []
    return [field.name for field in dataclasses.fields(generator.options)]
