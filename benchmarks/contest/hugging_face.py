"""The environment of the peers that diffusers and transformers hold."""

from contest.environment import Environment

ENVIRONMENT = Environment("hugging-face", ("torch==TORCH", "diffusers==0.42.1", "transformers==5.23.0", "soundfile"))
