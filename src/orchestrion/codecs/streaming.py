"""Codecs that code sound block by block, as it is played."""

from typing import Any

from torch import Tensor

from orchestrion.contracts import Codec


class StreamingCodec(Codec):
    """A codec that also takes sound as it comes: block after block it gives what it gives for the whole."""

    def encode_stream(self, audio: Tensor, state: Any = None, final: bool = False) -> tuple[Tensor, Any]:
        """The next samples `[b c t]`, of any number -> the latents or tokens that they complete, and the state for the
        next call. state: None at the beginning. final: nothing follows."""
        raise NotImplementedError

    def decode_stream(self, latents: Tensor, state: Any = None, final: bool = False) -> tuple[Tensor, Any]:
        """The next latents or tokens `[b d n]` -> the samples that they complete `[b c t]`, and the state."""
        raise NotImplementedError
