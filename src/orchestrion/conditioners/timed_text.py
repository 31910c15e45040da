"""Words and a metronome: what is asked for, and the beat that it is to be played to.

A caption says much about the tempo (its number, fast, slow, an instrument) and nothing about where the beats fall. So
the tempo is told from the words, by a regression over the corpus, and drawn where they leave it open.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from orchestrion.conditioners.metronome import FASTEST, SLOWEST, MetronomeConfig, tempo_of
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt

BPM = re.compile(r"(\d{2,3}(?:\.\d+)?) ?bpm\b", re.IGNORECASE)
RIDGE = 30.0  # of the regression, in prompts


class TimedTextConfig(ConditionerConfig):
    text: TextEncoderConfig = TextEncoderConfig()
    metronome: MetronomeConfig = MetronomeConfig()

    def build(self) -> "TimedText":
        return TimedText(self)


class TimedText(Conditioner):
    """Fills `sequence` and `vector` as the text encoder does, and `frames` as the metronome does.

    per_word: how much each word of the vocabulary changes the logarithm of the tempo. `metronome.spread` is the
    deviation of what the words don't tell.
    """

    fills = frozenset({"sequence", "vector", "frames"})
    hears = frozenset({"text", "tempo"})
    per_word: Tensor

    def __init__(self, config: TimedTextConfig) -> None:
        super().__init__()
        self.text, self.metronome = config.text.build(), config.metronome.build()
        self.width = self.text.width
        self.register_buffer("per_word", torch.zeros(config.text.vocabulary))

    def width_of(self, slot: str) -> int:
        return self.metronome.width if slot == "frames" else self.width

    def fit(self, prompts: Iterable[Prompt]) -> None:
        """Raises `UserError` where no prompt has a text."""
        prompts = list(prompts)
        self.text.fit(prompts)
        self._learn_tempos(prompts)

    def fit_further(self, prompts: Iterable[Prompt]) -> None:
        prompts = list(prompts)
        self.text.fit_further(prompts)
        self._learn_tempos(prompts)

    def complete(self, prompt: Prompt, seconds: float, seed: int) -> Prompt:
        """With steady beats: of the tempo that the prompt gives as a number, else of one that its words make likely."""
        if self.metronome.usual.isnan():
            return self.metronome.complete(prompt, seconds, seed)
        said = BPM.search(prompt.text or "")
        if said and "tempo" not in prompt.attributes and SLOWEST <= float(said[1]) <= FASTEST:
            prompt = replace(prompt, attributes={**prompt.attributes, "tempo": float(said[1])})
        usual = self.metronome.usual + self.per_word @ self._words(prompt)
        return prompt if prompt.beats else self.metronome.steady(prompt, seconds, seed, usual.item(),
                                                                 self.metronome.spread.item())

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        return replace(self.text(prompts), frames=self.metronome(prompts).frames)

    @torch.no_grad()
    def _learn_tempos(self, prompts: Sequence[Prompt]) -> None:
        """Ridge regression of the logarithm of the tempo on the words."""
        known = [(prompt, tempo) for prompt in prompts if (tempo := tempo_of(prompt.beats))]
        self.metronome.fit([])
        if not known:
            return
        words = torch.stack([self._words(prompt) for prompt, _ in known]).double().cpu()
        wanted = torch.tensor([tempo for _, tempo in known], dtype=torch.float64).log()
        mean = wanted.mean()
        gram = words.T @ words + RIDGE * torch.eye(words.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(gram, words.T @ (wanted - mean))
        self.per_word.copy_(weights)
        self.metronome.usual.fill_(mean.item())
        self.metronome.spread.fill_((wanted - mean - words @ weights).std(correction=0).item())

    def _words(self, prompt: Prompt) -> Tensor:
        """Which words of the vocabulary it has, `[vocabulary]`."""
        made = torch.zeros_like(self.per_word)
        made[torch.tensor(self.text.read(prompt.text), device=made.device)] = 1
        return made
