"""Every command in the README and the docs is one that there is, with options that it has."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from orchestrion.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(text: str) -> list[str]:
    """Lines of code blocks and code in sentences that begin with `orchestrion` and a verb."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^(?: {4})?(orchestrion [a-z].*)$", text, re.M)
    return [*blocks, *re.findall(r"`(orchestrion [a-z][^`]*)`", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_commands_can_be_typed(page):
    known = typer.main.get_command(app).commands
    for line in commands(page.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)[1:]
        assert words[0] in known, line
        if len(words) > 1:
            plain = [word for word in words[1:] if word not in ("…", "...")]
            try:
                known[words[0]].make_context(words[0], plain)
            except Exception as error:  # a missing argument is an abbreviation; an unknown option is a mistake
                assert "Missing" in str(error) or type(error).__name__ == "Exit", f"{line}: {error}"


def test_there_are_commands_to_check():
    assert sum(len(commands(page.read_text(encoding="utf-8"))) for page in PAGES) > 20
