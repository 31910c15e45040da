"""Prompts to conditioning. A new conditioner is one file here and one line below."""

from orchestrion.conditioners import attributes, text

__all__ = ["attributes", "text"]
