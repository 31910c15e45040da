"""Blocks and denoisers that two or more systems share."""
