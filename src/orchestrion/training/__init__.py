"""Runs: the loop, checkpoints, logs, demos, and beginning from other models."""
