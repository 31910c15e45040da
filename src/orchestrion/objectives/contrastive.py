"""Contrastive training of sound and words (CLIP: Radford et al. 2021, arXiv 2103.00020, figure 3).

Symmetric cross-entropy over the scaled cosines of a batch: each sound is to find its caption, each caption its sound.
Sounds with one and the same caption are right for each other.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from orchestrion.contracts import Batch, Conditioner, Objective, ObjectiveConfig, Parts, Prompt
from orchestrion.errors import UserError


@runtime_checkable
class TwoTowers(Protocol):
    """A conditioner with one space for sound `[b c t]` and prompts, `[b e]` of unit length."""

    def hear(self, audio: Tensor) -> Tensor: ...

    def read(self, prompts: list[Prompt]) -> Tensor: ...

    def scale(self) -> Tensor: ...


class ContrastiveConfig(ObjectiveConfig):
    shortened: float = 0.5  # share of the steps in which clips are cut, anywhere, so that short ones are heard too
    shortest: float = 0.3  # of a clip, the least that is left

    def build(self, parts: Parts) -> "Contrastive":
        if not isinstance(parts.conditioner, TwoTowers):
            raise UserError(f"contrastive training needs a conditioner that hears and reads, not a "
                            f"{type(parts.conditioner).__name__}")
        return Contrastive(self, parts.conditioner)


class Contrastive(Objective):
    def __init__(self, config: ContrastiveConfig, conditioner: Conditioner) -> None:
        super().__init__()
        self.config, self.conditioner = config, (conditioner,)  # in a tuple: it is saved elsewhere
        self.weights = {"contrast": 1.0}
        self.likeness = 0.0  # mean cosine of different sounds, over the last steps

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"conditioner": [p for p in self.conditioner[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        (towers,) = self.conditioner
        assert batch.audio is not None and isinstance(towers, TwoTowers)
        prompts = batch.prompts or [Prompt()] * len(batch.audio)
        sound, words = towers.hear(self._shortened(batch.audio)), towers.read(prompts)
        texts = [prompt.text for prompt in prompts]
        same = torch.tensor([[a == b for b in texts] for a in texts], device=sound.device)
        with torch.autocast(sound.device.type, enabled=False):  # times a scale of up to 100, bf16 would round too much
            cosines = sound @ words.mT
        with torch.no_grad():
            among = (sound @ sound.mT)[~torch.eye(len(sound), dtype=torch.bool, device=sound.device)]
            self.likeness += 0.05 * (float(among.mean()) - self.likeness) if len(among) else 0.0
            found = (cosines.argmax(1)[:, None] == torch.arange(len(texts), device=sound.device)) & same
        yield "conditioner", {"contrast": contrast(towers.scale() * cosines, same),
                              "found": found.any(1).float().mean()}

    def _shortened(self, audio: Tensor) -> Tensor:
        kind, share, place = torch.rand(3).tolist()
        if kind >= self.config.shortened:
            return audio
        count = max(int(audio.shape[-1] * (self.config.shortest + (1 - self.config.shortest) * share)), 1)
        start = int(place * (audio.shape[-1] - count + 1))
        return audio[..., start : start + count]

    def health(self) -> str | None:
        if self.likeness > 0.98:
            return "all sounds get the same place in the space: lower the learning rate, or raise the batch"
        return None


def contrast(logits: Tensor, same: Tensor) -> Tensor:
    """logits `[b b]` of sounds (rows) and captions, `same[i, j]` where caption j is sound i's -> the mean of both
    directions' cross-entropies, the right answers sharing the probability evenly."""
    def entropy(logits: Tensor, right: Tensor) -> Tensor:
        target = right.to(logits) / right.sum(1, keepdim=True)
        return -(target * logits.log_softmax(1)).sum(1).mean()

    return (entropy(logits, same) + entropy(logits.mT, same.mT)) / 2
