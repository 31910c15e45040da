"""The table of contents: every system is one page here and one line below."""

from orchestrion.systems import dmae, flow, gan, musika, rave, spectral, upsampler, vocoder, waveform

__all__ = ["dmae", "flow", "gan", "musika", "rave", "spectral", "upsampler", "vocoder", "waveform"]
