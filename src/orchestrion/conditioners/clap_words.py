"""The text tower of a published CLAP, its weights among the model's own: what AudioLDM's pipelines are steered by.

    words ── byte pairs ── transformer (RoBERTa: Liu et al. 2019) ── first place, tanh ── projection ──► vector [b e]

It reads; it can't hear. To train with sound, take the whole CLAP (`text_clap.py`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError

EPS = 1e-12  # of the norms


class ClapWordsConfig(ConditionerConfig):
    """The defaults are LAION's clap-htsat-unfused."""

    from_zero = frozenset({"padding"})

    vocabulary: int = 50_265
    length: int = 512  # pieces of a prompt that are read
    width: int = 768
    depth: int = 12
    heads: int = 12
    inner: int = 3072  # of the perceptrons
    joint: int = 512  # e
    padding: int = 1  # the piece that stands for nothing

    def build(self) -> "ClapWords":
        return ClapWords(self)


class ClapWords(Conditioner):
    """Fills `vector` `[b e]`, of unit length; the null prompt is that of no words."""

    fills = frozenset({"vector"})

    def __init__(self, config: ClapWordsConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.joint
        self.tokeniser: Any = None  # tokenizers.Tokenizer
        self._stored = torch.empty(0, dtype=torch.uint8)
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.places = nn.Parameter(torch.empty(config.length, config.width))
        nn.init.normal_(self.places, std=0.02)
        self.enter = nn.LayerNorm(config.width, eps=EPS)
        layer = nn.TransformerEncoderLayer(config.width, config.heads, config.inner, dropout=0.0, activation="gelu",
                                           layer_norm_eps=EPS, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
        self.pool = nn.Linear(config.width, config.width)
        self.project = nn.Sequential(nn.Linear(config.width, config.joint), nn.ReLU(),
                                     nn.Linear(config.joint, config.joint))

    def read(self, text: str | None) -> list[int]:
        """The pieces of a text, beginning and end marks among them."""
        if self.tokeniser is None:
            raise UserError("this text encoder has no tokeniser: import the pipeline that it belongs to")
        return list(self.tokeniser.encode((text or "").strip()).ids)

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        rows = [self.read(prompt.text) for prompt in prompts]
        longest, nothing = max(map(len, rows)), self.config.padding
        pieces = torch.tensor([row + [nothing] * (longest - len(row)) for row in rows], device=self.places.device)
        x = self.enter(self.words(pieces) + self.places[:longest])
        x = self.layers(x, src_key_padding_mask=pieces == nothing)
        found = self.project(torch.tanh(self.pool(x[:, 0])))
        return Conditioning(vector=nn.functional.normalize(found.float(), dim=-1))

    def take_tokeniser(self, tokeniser: Any) -> None:
        """tokeniser: a `tokenizers.Tokenizer` that adds the marks; it is saved wherever the weights are."""
        tokeniser.no_padding()
        tokeniser.enable_truncation(self.config.length)
        self.tokeniser = tokeniser
        self._stored = torch.tensor(list(tokeniser.to_str().encode()), dtype=torch.uint8)

    def get_extra_state(self) -> Tensor:
        return self._stored

    def set_extra_state(self, state: Tensor) -> None:
        from tokenizers import Tokenizer

        text = bytes(state.cpu().tolist()).decode()
        if text:
            self.take_tokeniser(Tokenizer.from_str(text))
