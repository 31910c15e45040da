"""A side of a pair in a process of its own: builds what it is told to, and runs and times it when it is told to.

    build PRECISION            -> {"parameters": …}
    run PRECISION TASK         -> {"wall": seconds, "cpu": seconds of all threads}
    count PRECISION TASK       -> {"float32": operations, "bfloat16": …}

A line in, a line of JSON out. Standard output is kept for it: what the libraries print goes to standard error.
"""

import json
import os
import sys
import time
import traceback
from contextlib import nullcontext
from typing import Any

from contest.pair import OURS, Tasks, find_pair


def main(name: str, side: str, threads: int) -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if side == OURS:
        import orchestrion  # noqa: F401  as its users do: it settles how memory is asked for
    limit_threads(threads)
    pair, built = find_pair(name), {}
    for line in sys.stdin:
        try:
            reply = answer(line.split(), pair.builders[side], built)
        except Exception:
            traceback.print_exc()
            reply = {"error": traceback.format_exc().strip().splitlines()[-1]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def answer(words: list[str], builders: Any, built: dict[str, Tasks]) -> dict[str, Any]:
    match words:
        case ["build", precision]:
            with quiet(lasting=True):
                built[precision] = builders[precision]()
            return {"parameters": built[precision].parameters}
        case ["run", precision, task]:
            with quiet():
                wall, cpu = time.perf_counter(), time.process_time()
                built[precision].work[task]()
                return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        case ["count", precision, task]:
            from ceilings import Counter

            with quiet(), Counter() as counter:
                built[precision].work[task]()
            return {str(dtype).removeprefix("torch."): count for dtype, count in counter.operations.items()}
    raise ValueError(f"no such order: {words}")


def limit_threads(threads: int) -> None:
    if "torch" in sys.modules or _installed("torch"):
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)


def quiet(lasting: bool = False) -> Any:
    """Without gradients, where torch is. lasting: what is made may be used again later."""
    if not _installed("torch"):
        return nullcontext()
    import torch

    return torch.no_grad() if lasting else torch.inference_mode()


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
