"""Models in the user's hands: generate, encode, decode, stream."""

from orchestrion.playing.model import Model

__all__ = ["Model"]
