"""Words, and what they say in numbers: the beat, how busy, how high, how loud.

A caption says much about such numbers (fast, sparse, rather high, an instrument), but rarely, and each word for itself;
a generator learns them sooner as numbers. So what words mean is told by regressions over the corpus, and what they
leave open is drawn.
"""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from orchestrion.conditioners.attributes import AttributesConfig
from orchestrion.conditioners.metronome import FASTEST, SLOWEST, MetronomeConfig
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.tempo import tempo_of

BPM = re.compile(r"(?<![\d.])(\d{2,3}(?:\.\d+)?) ?bpm\b", re.IGNORECASE)
RIDGE = 30.0  # of the regressions, in prompts
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

    What the corpus says of a number, the first of them being the logarithm of the tempo: `usual` its mean, `per_word`
    how much each word of the vocabulary adds; `usual_error` and `error_per_word` the like for its squared error.
    """

    fills = frozenset({"sequence", "vector", "frames"})
    usual: Tensor
    per_word: Tensor
    usual_error: Tensor
    error_per_word: Tensor

    def __init__(self, config: MusicTextConfig) -> None:
        super().__init__()
        self.text, self.metronome = config.text.build(), config.metronome.build()
        self.numbers = config.numbers.build()
        self.width = self.text.width
        self.names = ("tempo", *self.numbers.names)
        self.hears = frozenset({"text", *self.names})
        for name in ("usual", "usual_error"):
            self.register_buffer(name, torch.full((len(self.names),), torch.nan))
        for name in ("per_word", "error_per_word"):
            self.register_buffer(name, torch.zeros(len(self.names), config.text.vocabulary))

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
        """With steady beats and all numbers that it can be told: those that the prompt gives, else drawn from what its
        words make likely. "72 bpm" among them gives the tempo."""
        said = BPM.search(prompt.text or "")
        if said and "tempo" not in prompt.attributes and SLOWEST <= float(said[1]) <= FASTEST:
            prompt = replace(prompt, attributes={**prompt.attributes, "tempo": float(said[1])})
        laws = self._laws(prompt)
        drawn = {name: random.Random(f"{name}/{seed}").gauss(*law) for name, law in laws.items() if name != "tempo"}
        prompt = replace(prompt, attributes={**drawn, **prompt.attributes})
        if prompt.beats or "tempo" not in laws:
            return self.metronome.complete(prompt, seconds, seed, loop)
        return self.metronome.steady(prompt, seconds, seed, laws["tempo"], loop)

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        made, numbers = self.text(prompts), self.numbers(prompts).vector
        assert made.vector is not None and numbers is not None
        if self.training:  # edits leave them open
            kept = torch.rand(len(numbers), len(self.numbers.names), device=numbers.device) >= DROPPED
            numbers = numbers * kept.repeat(1, 2)
        return replace(made, vector=torch.cat([made.vector, numbers], 1), frames=self.metronome(prompts).frames)

    def _laws(self, prompt: Prompt) -> dict[str, tuple[float, float]]:
        """Mean and deviation of every number that the corpus knew (of the tempo its logarithm), given the words."""
        words = self._words(prompt)
        mean = self.usual + self.per_word @ words
        error = (self.usual_error + self.error_per_word @ words).maximum(SURE**2 * self.usual_error)
        return {name: (middle.item(), spread.item()) for name, middle, spread in zip(self.names, mean, error.sqrt())
                if not middle.isnan()}

    @torch.no_grad()
    def _learn_meanings(self, prompts: Sequence[Prompt]) -> None:
        """Ridge regressions of every number on the words, then of its squared error: words that tell it leave less."""
        heard = torch.stack([self._words(prompt) for prompt in prompts]).double().cpu()
        numbers = [_numbers(prompt) for prompt in prompts]
        for row, name in enumerate(self.names):
            known = [i for i, each in enumerate(numbers) if name in each]
            if not known:
                continue
            words = heard[known]
            wanted = torch.tensor([numbers[i][name] for i in known], dtype=torch.float64)
            self.usual[row], self.per_word[row] = _ridge(words, wanted)
            square = (wanted - self.usual[row].cpu() - words @ self.per_word[row].double().cpu()).square()
            self.usual_error[row], self.error_per_word[row] = _ridge(words, square)

    def _words(self, prompt: Prompt) -> Tensor:
        """Which words of the vocabulary it has, `[vocabulary]`."""
        made = torch.zeros_like(self.per_word[0])
        made[torch.tensor(self.text.read(prompt.text), device=made.device)] = 1
        return made


def _numbers(prompt: Prompt) -> Mapping[str, float]:
    """The prompt's, its tempo the logarithm of that of its beats."""
    tempo = tempo_of(prompt.beats)
    others = {name: value for name, value in prompt.attributes.items() if name != "tempo"}
    return others | ({"tempo": torch.tensor(tempo).log().item()} if tempo else {})


def _ridge(words: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """words `[m v]`, wanted `[m]` -> its mean, and what each word adds `[v]`."""
    mean = wanted.mean()
    gram = words.T @ words + RIDGE * torch.eye(words.shape[1], dtype=words.dtype)
    return mean, torch.linalg.solve(gram, words.T @ (wanted - mean))
