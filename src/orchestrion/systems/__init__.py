"""The table of contents: every system is one page here and one line below."""

from orchestrion.systems import flow, gan, musika, rave, spectral

__all__ = ["flow", "gan", "musika", "rave", "spectral"]
