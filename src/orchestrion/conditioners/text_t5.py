"""T5 as text encoder (Raffel et al. 2020, arXiv 1910.10683): pretrained, frozen, loaded when first used.

Its weights stay where transformers keeps them; a model that was trained with them names them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orchestrion.conditioners.pretrained import load_pretrained
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError


class T5TextConfig(ConditionerConfig):
    weights: str = "google/flan-t5-base"  # a name on the Hub or a folder
    width: int = 768  # of those weights
    length: int = 64  # tokens of a prompt that are read

    def build(self) -> "T5Text":
        return T5Text(self)


class T5Text(Conditioner):
    """Fills `sequence`. A null prompt has no words at all: its mask is empty."""

    fills = frozenset({"sequence"})
    place: Tensor

    def __init__(self, config: T5TextConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.register_buffer("place", torch.empty(0), persistent=False)  # knows the device
        self._parts: tuple[Any, nn.Module] | None = None  # in a tuple: not to be saved with the model

    def parts(self) -> tuple[Any, nn.Module]:
        """Tokeniser and encoder."""
        if self._parts is None:
            found = load_pretrained(self.config.weights, "AutoTokenizer", "T5EncoderModel")
            if (width := found[1].config.d_model) != self.width:
                raise UserError(f"{self.config.weights} is {width} wide, the model's configuration says {self.width}: "
                                f"set the conditioner's width to {width}")
            self._parts = found
        return self._parts

    @torch.no_grad()
    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        texts = [(prompt.text or "").strip() for prompt in prompts]
        said = torch.tensor([bool(text) for text in texts])
        if not said.any():
            nothing: Tensor = self.place.new_zeros(len(texts), 1, self.width)
            return Conditioning(sequence=nothing, mask=nothing[..., 0] > 0)
        tokeniser, encoder = self.parts()
        encoder.to(self.place.device)
        tokens = tokeniser(texts, padding=True, truncation=True, max_length=self.config.length, return_tensors="pt")
        tokens = {name: tokens[name].to(self.place.device) for name in ("input_ids", "attention_mask")}
        mask = tokens["attention_mask"].bool() & said.to(self.place.device)[:, None]
        return Conditioning(sequence=encoder(**tokens).last_hidden_state * mask[..., None], mask=mask)
