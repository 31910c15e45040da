"""Prompts to conditioning. A new conditioner is one file here and one line below."""


