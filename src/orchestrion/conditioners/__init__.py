"""Prompts to conditioning. A new conditioner is one file here and one line below."""

from orchestrion.conditioners import attributes, clap, clap_words, text, text_clap, text_t5

__all__ = ["attributes", "clap", "clap_words", "text", "text_clap", "text_t5"]
