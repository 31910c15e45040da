"""Orchestrion: train and play every major family of neural audio generators on one machine."""

__version__ = "0.1.0"
