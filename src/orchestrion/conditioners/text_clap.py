"""Pretrained CLAP (Wu et al. 2023, arXiv 2211.06687) through transformers: one vector for sound or words.

AudioLDM trains on the sound's vector and samples from the text's. Frozen, loaded when first used; its weights stay
where transformers keeps them.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orchestrion.conditioners.pretrained import load_pretrained
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError


class PretrainedClapConfig(ConditionerConfig):
    weights: str = "laion/clap-htsat-unfused"  # a name on the Hub or a folder
    width: int = 512  # of those weights' joint space
    prefer: Literal["text", "audio"] = "text"  # where a prompt has both

    def build(self) -> "PretrainedClap":
        return PretrainedClap(self)


class PretrainedClap(Conditioner):
    """Fills `vector` `[b e]`, of unit length; the null prompt's is zero. Audio `[c t]` is at `sample_rate`."""

    fills = frozenset({"vector"})
    sample_rate = 48_000
    place: Tensor

    def __init__(self, config: PretrainedClapConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.register_buffer("place", torch.empty(0), persistent=False)  # knows the device
        self._parts: tuple[Any, nn.Module] | None = None  # in a tuple: not to be saved with the model

    def parts(self) -> tuple[Any, Any]:
        """Processor and model."""
        if self._parts is None:
            found = load_pretrained(self.config.weights, "ClapProcessor", "ClapModel")
            if (width := found[1].config.projection_dim) != self.width:
                raise UserError(f"{self.config.weights} has a space of {width}, the model's configuration says "
                                f"{self.width}: set the conditioner's width to {width}")
            self._parts = found
        self._parts[1].to(self.place.device)
        return self._parts

    @torch.no_grad()
    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        return Conditioning(vector=torch.stack([self._vector(prompt) for prompt in prompts]))

    def _vector(self, prompt: Prompt) -> Tensor:
        text = (prompt.text or "").strip()
        if prompt.audio is not None and (self.config.prefer == "audio" or not text):
            return self.hear(prompt.audio)
        return self.read(text) if text else self.place.new_zeros(self.width)

    def read(self, text: str) -> Tensor:
        processor, model = self.parts()
        tokens = processor.tokenizer([text], truncation=True, return_tensors="pt")
        return self._unit(model.get_text_features(**{k: v.to(self.place.device) for k, v in tokens.items()}))

    def hear(self, audio: Tensor) -> Tensor:
        """audio `[c t]` at `sample_rate`."""
        processor, model = self.parts()
        mono = audio.mean(0).cpu().numpy()
        features = processor.feature_extractor([mono], sampling_rate=self.sample_rate, return_tensors="pt")
        return self._unit(model.get_audio_features(**{k: v.to(self.place.device) for k, v in features.items()}))

    @staticmethod
    def _unit(features: Any) -> Tensor:
        """`[1 e]`, as it is or in transformers' output object, -> `[e]`."""
        found: Tensor = features if isinstance(features, Tensor) else features.pooler_output
        return nn.functional.normalize(found[0].float(), dim=-1)
