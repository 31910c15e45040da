"""Measure and compare: each metric in its own file; `reconstruction` and `music` gather them."""
