"""The sound itself: `Audio`, its files, spectra, loudness and plots."""

from orchestrion.audio.sound import Audio

__all__ = ["Audio"]
