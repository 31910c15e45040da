"""A peer's environment: a folder with an interpreter of its own, made and filled by the benchmark itself."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TRIES = 3
NOTE = "installed.json"


@dataclass(frozen=True)
class Environment:
    """packages: pip's requirements. alone: those installed without what they ask for (old pins that can't be met).
    checkouts: repositories at a commit, `folder name: (address, commit)`, for peers that no package has."""

    name: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    checkouts: tuple[tuple[str, str, str], ...] = ()

    def python(self, folder: Path) -> Path:
        inner = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")
        return folder / self.name / inner

    def prepare(self, folder: Path, torch: str) -> Path:
        """Its interpreter. Installs what isn't there; goes on where an earlier attempt failed; a finished one is left
        as it is until its list changes. torch: the release of ours, which all must share.

        pip's own settings hold (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL for torch's CPU build …). Raises
        `subprocess.CalledProcessError` where an attempt fails for the third time.
        """
        place, python = folder / self.name, self.python(folder)
        wanted = {"packages": [each.replace("TORCH", torch) for each in self.packages], "alone": list(self.alone),
                  "checkouts": [list(each) for each in self.checkouts]}
        note = place / NOTE
        if python.exists() and note.exists() and json.loads(note.read_text()) == wanted:
            return python
        if not python.exists():
            attempt([sys.executable, "-m", "venv", "--without-pip", str(place)])
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile",
               "--disable-pip-version-check", "--retries", "5"]
        attempt([*pip, *wanted["packages"]])
        if self.alone:
            attempt([*pip, "--no-deps", *self.alone])
        for name, address, commit in self.checkouts:
            checkout(place / name, address, commit)
        part = note.with_suffix(".part")
        part.write_text(json.dumps(wanted))
        part.replace(note)
        return python


def checkout(target: Path, address: str, commit: str) -> None:
    """A repository's files at a commit. A folder that is there already, put by hand for want of a network, say, is
    taken as it is."""
    if target.exists():
        return
    part = target.with_suffix(".part")
    if not part.exists():
        attempt(["git", "init", "--quiet", str(part)])
    attempt(["git", "-C", str(part), "fetch", "--quiet", "--depth", "1", address, commit])
    attempt(["git", "-C", str(part), "checkout", "--quiet", "--force", commit])
    part.rename(target)


def attempt(command: list[str]) -> None:
    """Runs a command, up to three times with a pause between."""
    for turn in range(TRIES):
        print("+", " ".join(command), file=sys.stderr, flush=True)
        try:
            subprocess.run(command, check=True, stdout=sys.stderr)
            return
        except subprocess.CalledProcessError:
            if turn == TRIES - 1:
                raise
            time.sleep(5 * (turn + 1))
