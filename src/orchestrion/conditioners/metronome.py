"""A metronome: the beat as conditioning, frame by frame.

Generators of a few seconds' hearing find notes that fit each other more easily than a steady pulse. So the beat is
given to them: while training that of the piece, in use that of a tempo, which is asked for or drawn.
"""

import dataclasses
import math
import random
import statistics
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError
from orchestrion.tempo import tempo_of

SLOWEST, FASTEST = 20.0, 400.0  # beats a minute
PARTS = (1, 2, 4)  # of a beat: quarters, eighths and sixteenths, where the beat is a quarter
LOUD = 4.0  # as strong as the latents beside them, or training would hardly notice


class MetronomeConfig(ConditionerConfig):
    rate: float = 44_100 / 2048  # latent frames a second

    def build(self) -> "Metronome":
        return Metronome(self)


class Metronome(Conditioner):
    """Fills `frames` `[b 7 n]`: that a beat is known (`LOUD`), and cosine and sine of where a frame lies from beat to
    beat, in the half and in the quarter of one; zeros where none is known. n reaches to the last beat of any clip. In
    use the tempo is the prompt's attribute of that name in beats a minute, else drawn from the law of those that it was
    trained on."""

    fills = frozenset({"frames"})
    hears = frozenset({"tempo"})
    width = 1 + 2 * len(PARTS)
    usual: Tensor
    spread: Tensor

    def __init__(self, config: MetronomeConfig) -> None:
        super().__init__()
        if not 0 < config.rate < math.inf:
            raise UserError(f"a metronome's rate is the codec's latent frames a second, above 0, not {config.rate:g}")
        self.rate = config.rate
        self.register_buffer("usual", torch.tensor(math.nan))  # mean and deviation of log beats a minute, once known
        self.register_buffer("spread", torch.tensor(math.nan))

    @torch.no_grad()
    def fit(self, prompts: Iterable[Prompt]) -> None:
        """Measures the tempos. Of a corpus without beats nothing is learned, and nothing asked for in use."""
        tempos = [math.log(tempo) for prompt in prompts if (tempo := tempo_of(prompt.beats))]
        if tempos:
            self.usual.fill_(statistics.fmean(tempos))
            self.spread.fill_(statistics.pstdev(tempos))

    def fit_further(self, prompts: Iterable[Prompt]) -> None:
        """The tempos are those of the corpus that it was trained on last."""
        self.fit(prompts)

    def complete(self, prompt: Prompt, seconds: float, seed: int, loop: bool = False) -> Prompt:
        """With steady beats, of the prompt's tempo or one drawn, the first of them anywhere."""
        if prompt.beats or self.usual.isnan():
            if "tempo" in prompt.attributes and not prompt.beats:
                raise UserError("this model was trained on music whose beats were not known, so it keeps to no tempo: "
                                "leave it out, or train on a corpus prepared from MIDI")
            return prompt
        return self.steady(prompt, seconds, seed, (self.usual.item(), self.spread.item()), loop)

    def steady(self, prompt: Prompt, seconds: float, seed: int, law: tuple[float, float], loop: bool = False) -> Prompt:
        """`complete`, the logarithm of the tempo drawn from a normal law of this mean and deviation. A loop has a whole
        number of beats, at the nearest tempo."""
        draw = random.Random(f"metronome/{seed}")
        tempo = math.exp(draw.gauss(*law))
        tempo = prompt.attributes.get("tempo", min(max(tempo, SLOWEST), FASTEST))
        if not SLOWEST <= tempo <= FASTEST:
            raise UserError(f"a tempo is a number of beats a minute from {SLOWEST:g} to {FASTEST:g}, not {tempo:g}")
        gap = seconds / max(round(seconds * tempo / 60), 1) if loop else 60 / tempo
        first = (draw.random() - 1) * gap
        return dataclasses.replace(prompt, beats=[first + gap * i for i in range(math.ceil(seconds / gap) + 2)])

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        ends = [math.ceil(max(prompt.beats[-1], 0) * self.rate) for prompt in prompts if prompt.beats]
        rows = torch.stack([self._phases(prompt.beats, max(ends, default=1)) for prompt in prompts])
        return Conditioning(frames=rows.to(self.usual.device))

    def _phases(self, beats: Sequence[float], frames: int) -> Tensor:
        """-> `[7 frames]`."""
        made = torch.zeros(self.width, frames)
        if len(beats) < 2:
            return made
        falls = torch.tensor(beats, dtype=torch.float64)
        now = (torch.arange(frames, dtype=torch.float64) + 0.5) / self.rate
        last = torch.searchsorted(falls, now, right=True) - 1
        known = (last >= 0) & (last < len(falls) - 1)
        last = last.clamp(0, len(falls) - 2)
        turn = 2 * math.pi * (now - falls[last]) / (falls[last + 1] - falls[last]).clamp_min(1e-3)
        turns = [f(part * turn) for part in PARTS for f in (torch.cos, torch.sin)]
        return (torch.stack([torch.ones_like(turn), *turns]) * LOUD * known).float()
