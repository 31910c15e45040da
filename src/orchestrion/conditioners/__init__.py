"""Prompts to conditioning. A new conditioner is one file here and one line below."""

from orchestrion.conditioners import (
    attributes,
    audio_encoder,
    clap,
    clap_words,
    metronome,
    music_text,
    text,
    text_clap,
    text_t5,
)

__all__ = ["attributes", "audio_encoder", "clap", "clap_words", "metronome", "music_text", "text",
           "text_clap", "text_t5"]
