"""Words, and what they say in numbers: the beat, how busy, how high, how loud.

A caption says much about such numbers (fast, sparse, rather high, an instrument), but rarely, and each word for itself;
a generator learns them sooner as numbers. So what words mean is told by regressions over the corpus, and what they
leave open is drawn.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from orchestrion.conditioners.attributes import AttributesConfig
from orchestrion.conditioners.metronome import FASTEST, SLOWEST, MetronomeConfig
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.tempo import tempo_of

BPM = re.compile(r"(?<![\d.])(\d{2,3}(?:\.\d+)?) ?bpm\b", re.IGNORECASE)
PAIRS = 1024  # of words that often follow each other: very fast is more than fast, very slow less than slow
RIDGE = 10.0  # of the regressions, in prompts
DROPPED = 0.1  # share of the numbers that are left out while training
SURE = 0.1  # least deviation that is drawn, beside the corpus's


class MusicTextConfig(ConditionerConfig):
    text: TextEncoderConfig = TextEncoderConfig()
    metronome: MetronomeConfig = MetronomeConfig()
    numbers: AttributesConfig = AttributesConfig(names=("density", "pitch", "velocity"))

    def build(self) -> "MusicText":
        return MusicText(self)


class MusicText(Conditioner):
    """Fills `sequence` as the text encoder does, `frames` as the metronome does, and `vector` with the text's and the
    numbers'.

    What the corpus says of a number, the first of them being the logarithm of the tempo: `usual` its mean, `spread` its
    deviation, `lowest` and `highest` where a twentieth of it lies beyond, `weights` what each word of the vocabulary
    adds, each of the `pairs` of words, and each number before it, in deviations; `error` and `error_weights` the like
    for the square of what that misses.
    """

    fills = frozenset({"sequence", "vector", "frames"})
    pairs: Tensor
    usual: Tensor
    spread: Tensor
    lowest: Tensor
    highest: Tensor
    weights: Tensor
    error: Tensor
    error_weights: Tensor

    def __init__(self, config: MusicTextConfig) -> None:
        super().__init__()
        self.text, self.metronome = config.text.build(), config.metronome.build()
        self.numbers = config.numbers.build()
        self.width = self.text.width
        self.names = ("tempo", *self.numbers.names)
        self.hears = frozenset({"text", *self.names})
        for name in ("usual", "spread", "lowest", "highest", "error"):
            self.register_buffer(name, torch.full((len(self.names),), torch.nan))
        self.register_buffer("pairs", torch.zeros(PAIRS, 2, dtype=torch.long))
        for name in ("weights", "error_weights"):
            self.register_buffer(name, torch.zeros(len(self.names), config.text.vocabulary + PAIRS + len(self.names)))

    def width_of(self, slot: str) -> int:
        return {"frames": self.metronome.width, "vector": self.width + self.numbers.width}.get(slot, self.width)

    def fit(self, prompts: Iterable[Prompt]) -> None:
        """Raises `UserError` where no prompt has a text."""
        prompts = list(prompts)
        self.text.fit(prompts)
        self.metronome.fit(prompts)
        self.numbers.fit_known(prompts)  # a corpus of recordings knows none
        self._learn_meanings(prompts)

    def fit_further(self, prompts: Iterable[Prompt]) -> None:
        """What words mean is the new corpus's."""
        prompts = list(prompts)
        for part in (self.text, self.metronome, self.numbers):
            part.fit_further(prompts)
        self._learn_meanings(prompts)

    def check(self, prompt: Prompt) -> None:
        self.numbers.check(prompt)

    def complete(self, prompt: Prompt, seconds: float, seed: int, loop: bool = False) -> Prompt:
        """With steady beats and all numbers that it can be told: those that the prompt gives, else one after the other
        drawn from what its words and the numbers before make likely; unwanted words say the opposite of what they say.
        "72 bpm" among the words gives the tempo."""
        said = BPM.search(prompt.text or "")
        if said and "tempo" not in prompt.attributes and SLOWEST <= float(said[1]) <= FASTEST:
            prompt = replace(prompt, attributes={**prompt.attributes, "tempo": float(said[1])})
        settled, words, unwanted = _numbers(prompt), self._words(prompt.text), self._words(prompt.negative)
        for row, name in enumerate(self.names):
            if name not in settled and not self.usual[row].isnan():
                drawn = random.Random(f"{name}/{seed}").gauss(*self._law(row, words, unwanted, settled))
                settled[name] = min(max(drawn, self.lowest[row].item()), self.highest[row].item())
        others = {name: value for name, value in settled.items() if name != "tempo"}
        prompt = replace(prompt, attributes={**others, **prompt.attributes})
        if prompt.beats or self.metronome.usual.isnan():
            return self.metronome.complete(prompt, seconds, seed, loop)
        return self.metronome.steady(prompt, seconds, seed, (settled["tempo"], 0.0), loop)

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        made, numbers = self.text(prompts), self.numbers(prompts).vector
        assert made.vector is not None and numbers is not None
        if self.training:  # edits leave them open
            kept = torch.rand(len(numbers), len(self.numbers.names), device=numbers.device) >= DROPPED
            numbers = numbers * kept.repeat(1, 2)
        return replace(made, vector=torch.cat([made.vector, numbers], 1), frames=self.metronome(prompts).frames)

    def _law(self, row: int, words: Tensor, unwanted: Tensor, settled: Mapping[str, float]) -> tuple[float, float]:
        """Mean and deviation of a number, given a prompt's `_words`, its negative's and the numbers before it."""
        before = self._before(row, settled).to(self.weights)
        mean = self.usual[row] + self.weights[row] @ torch.cat([words - unwanted, before])
        error = self.error[row] + self.error_weights[row] @ torch.cat([words, before])
        return mean.item(), error.maximum(SURE**2 * self.error[row]).sqrt().item()

    @torch.no_grad()
    def _learn_meanings(self, prompts: Sequence[Prompt]) -> None:
        """Ridge regressions of every number on the words and the numbers before it, then of its squared error: words
        that tell it leave less."""
        numbers = [_numbers(prompt) for prompt in prompts]
        if not any(name in each for each in numbers for name in self.names):
            return
        often = Counter(pair for prompt in prompts for pair in pairwise(self.text.read(prompt.text)))
        chosen = sorted(often, key=lambda pair: (-often[pair], pair))[:PAIRS]
        self.pairs.zero_()
        self.pairs[: len(chosen)] = torch.tensor(chosen).view(-1, 2)
        heard = torch.stack([self._words(prompt.text) for prompt in prompts]).double().cpu()
        first = self.text.config.vocabulary
        for row, name in enumerate(self.names):
            known = [i for i, each in enumerate(numbers) if name in each]
            if not known:  # its pairs were others
                self.weights[row, first : first + PAIRS] = self.error_weights[row, first : first + PAIRS] = 0
                continue
            wanted = torch.tensor([numbers[i][name] for i in known], dtype=torch.float64)
            seen = torch.cat([heard[known], torch.stack([self._before(row, numbers[i]) for i in known])], 1)
            self.spread[row] = wanted.std(correction=0).clamp_min(1e-6)
            self.lowest[row], self.highest[row] = wanted.quantile(0.05), wanted.quantile(0.95)
            self.usual[row], self.weights[row] = self._regression(seen, wanted)
            square = (wanted - self.usual[row].cpu() - seen @ self.weights[row].double().cpu()).square()
            self.error[row], self.error_weights[row] = self._regression(seen, square)

    def _regression(self, seen: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """seen `[m v]`, wanted `[m]` -> its mean, and what each column of `seen` adds `[v]`. Words and numbers first,
        then pairs, what these missed: all at once, pairs would take their meaning from the words."""
        mean, left, weights = wanted.mean(), wanted - wanted.mean(), seen.new_zeros(seen.shape[1])
        words = self.text.config.vocabulary
        pairs = torch.arange(words, words + PAIRS)
        alone = torch.cat([torch.arange(words), torch.arange(words + PAIRS, seen.shape[1])])
        for part in (alone, pairs):
            x = seen[:, part]
            weights[part] = torch.linalg.solve(x.T @ x + RIDGE * torch.eye(len(part), dtype=x.dtype), x.T @ left)
            left = left - x @ weights[part]
        return mean, weights

    def _before(self, row: int, numbers: Mapping[str, float]) -> Tensor:
        """The numbers before that of `row`, in deviations, 0 where they aren't known, `[names]`."""
        made = torch.zeros(len(self.names), dtype=torch.float64)
        for place, name in enumerate(self.names[:row]):
            if name in numbers and not self.usual[place].isnan():
                made[place] = (numbers[name] - self.usual[place].item()) / self.spread[place].item()
        return made

    def _words(self, text: str | None) -> Tensor:
        """Which words of the vocabulary it has, and which of the pairs, `[vocabulary + pairs]`."""
        words, first = self.text.read(text), self.text.config.vocabulary
        made = self.weights.new_zeros(first + PAIRS)
        made[words] = 1
        if len(words) > 1:
            met = torch.tensor(list(pairwise(words)), device=self.pairs.device)
            made[first:] = (self.pairs[:, None] == met).all(-1).any(-1)
        return made


def _numbers(prompt: Prompt) -> dict[str, float]:
    """The prompt's. Of the tempo, that of its beats or else its own, the logarithm."""
    tempo = tempo_of(prompt.beats) or prompt.attributes.get("tempo")
    others = {name: float(value) for name, value in prompt.attributes.items() if name != "tempo"}
    return others | ({"tempo": math.log(tempo)} if tempo and tempo > 0 else {})
