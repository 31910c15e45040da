"""What went wrong, said to the user: one sentence with what, where and what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the input, not in the program. The command line prints it and exits with 2."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the nearest known word, or else all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known) or 'none'}."
