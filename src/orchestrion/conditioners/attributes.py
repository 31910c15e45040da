"""Numbers as conditioning: tempo, note density and whatever else stands in a prompt's attributes.

Musika's 22 kHz code gives generator and critic one such number at every step.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError

FARTHEST = 4.0  # deviations from the mean that may be asked for: beyond, generators have met next to nothing
COUNTED = frozenset({"tempo", "density", "pitch", "velocity"})  # which no music has below 0


class AttributesConfig(ConditionerConfig):
    names: tuple[str, ...] = ("tempo",)

    def build(self) -> "Attributes":
        return Attributes(self)


class Attributes(Conditioner):
    """Fills `vector` `[b 2·names]`: each number in deviations from the corpus's mean, then whether it was given.

    A number that wasn't given is 0 in both places; a prompt without attributes is all zeros.
    """

    fills = frozenset({"vector"})
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: AttributesConfig) -> None:
        super().__init__()
        if not config.names:
            raise UserError("AttributesConfig needs at least one name, such as tempo")
        self.names = config.names
        self.hears = frozenset(config.names)
        self.width = 2 * len(config.names)
        self.register_buffer("mean", torch.full((len(config.names),), torch.nan))
        self.register_buffer("deviation", torch.ones(len(config.names)))

    @torch.no_grad()
    def fit(self, prompts: Iterable[Prompt]) -> None:
        """Measures mean and deviation over a corpus. Raises `UserError` where it lacks an attribute."""
        for name in self.fit_known(prompts):
            raise UserError(f"no piece of the corpus has the attribute {name!r}: prepare it with attributes, or leave "
                            "the name out")

    @torch.no_grad()
    def fit_known(self, prompts: Iterable[Prompt]) -> list[str]:
        """`fit`, and the names that the corpus lacks, of which nothing can be asked."""
        table = torch.tensor([[_number(p, name) for name in self.names] for p in prompts], dtype=torch.float64)
        missing = []
        for i, name in enumerate(self.names):
            column = table[:, i] if len(table) else table
            column = column[~column.isnan()]
            if len(column):
                self.mean[i] = column.mean()
                self.deviation[i] = column.std(correction=0).clamp_min(1e-6)
            else:
                missing.append(name)
        return missing

    @torch.no_grad()
    def fit_further(self, prompts: Iterable[Prompt]) -> None:
        """The ranges that the generator knows stay; those of names that it never met are measured."""
        mean, deviation = self.mean.clone(), self.deviation.clone()
        self.fit_known(prompts)
        known = ~mean.isnan()
        self.mean[known], self.deviation[known] = mean[known], deviation[known]

    def check(self, prompt: Prompt) -> None:
        for name, mean, deviation in zip(self.names, self.mean.tolist(), self.deviation.tolist()):
            if name not in prompt.attributes or math.isnan(mean):
                continue
            spread = max(FARTHEST * deviation, 0.001 * abs(mean))
            low, high = max(mean - spread, 0.0) if name in COUNTED else mean - spread, mean + spread
            if not low <= (asked := prompt.attributes[name]) <= high:
                raise UserError(f"a {name} of {asked:g} is far from all music that this model knows: ask for a number "
                                f"from {low:.4g} to {high:.4g}")

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        for prompt in prompts:
            for name, value in prompt.attributes.items():
                if name in self.names and not torch.tensor(float(value)).isfinite():
                    raise UserError(f"the attribute {name} must be a finite number, got {value}")
        unknown = [name for name, mean in zip(self.names, self.mean) if mean.isnan()]
        if any(name in p.attributes for p in prompts for name in unknown):
            raise UserError(f"this model has met no music whose {' and '.join(unknown)} was known, so it can't be "
                            "asked for any: leave it out, or train on a corpus that has such attributes")
        table = torch.tensor([[_number(p, name) for name in self.names] for p in prompts], device=self.mean.device)
        given = ~table.isnan()
        standard = torch.where(given, (table - self.mean) / self.deviation, 0.0)
        return Conditioning(vector=torch.cat([standard, given.to(standard)], 1))


def _number(prompt: Prompt, name: str) -> float:
    return float(prompt.attributes.get(name, torch.nan))
