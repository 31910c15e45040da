"""What a race between two is: the same tasks for both sides, each side at one or more precisions."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contest.environment import Environment

Task = Callable[[], object]
"""Does the work once. Whatever can be prepared was prepared when it was built."""


@dataclass(frozen=True)
class Tasks:
    """What a side can do at one precision. parameters: of the networks that the tasks run."""

    parameters: int
    work: Mapping[str, Task]

    @classmethod
    def of(cls, *modules: Any, **work: Task) -> "Tasks":
        """Tasks of torch modules, whose parameters are counted."""
        return cls(sum(p.numel() for module in modules for p in module.parameters()), work)

    def autocast(self, half: bool) -> "Tasks":
        """The same under torch's bfloat16 autocast, or as they are."""
        import torch

        def under(task: Task) -> Task:
            def run() -> None:
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    task()
            return run

        return Tasks(self.parameters, {name: under(task) for name, task in self.work.items()})


THEIRS, OURS = "theirs", "ours"
FLOAT, HALF = "float32", "bfloat16"


@dataclass(frozen=True)
class Pair:
    """title, work: for the table. peer: the peer's name. environment: where it is installed.

    builders: side -> precision -> what builds its tasks, in the environment of that side. tasks: their names, and how
    many seconds of sound each makes or takes. same_size: whether both sides are the same network in the same library;
    only then must ours not be slower at equal precision. times: by how much ours at its best must be ahead of the peer
    as shipped, by task. shipped: the peer's precision as it comes. rounds: unless told otherwise; fewer for what
    takes a minute.
    """

    title: str
    work: str
    peer: str
    environment: Environment
    builders: Mapping[str, Mapping[str, Callable[[], Tasks]]]
    tasks: Mapping[str, float]
    same_size: bool = True
    times: Mapping[str, float] | None = None
    shipped: str = FLOAT
    rounds: int = 5
    note: str = ""


def find_pair(name: str) -> Pair:
    return importlib.import_module(f"contest.{name}").PAIR
