"""The table of contents: every system is one page here and one line below."""

from orchestrion.systems import flow, gan, musika, spectral

__all__ = ["flow", "gan", "musika", "spectral"]
