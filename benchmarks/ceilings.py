"""What the machine could do at most: measured ceilings, operations counted, and the time that these would take."""

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

SIDE = 2048
BYTES = 2**28


@dataclass(frozen=True)
class Ceilings:
    """Operations a second of the best matrix product by precision, and bytes a second of the best copy."""

    matmul: dict[torch.dtype, float]
    copy: float

    def seconds(self, operations: dict[torch.dtype, float]) -> float:
        """What the operations would take as nothing but such products. Precisions that weren't measured count as
        float32."""
        return sum(count / self.matmul.get(dtype, self.matmul[torch.float32]) for dtype, count in operations.items())

    def __str__(self) -> str:
        products = ", ".join(f"{rate / 1e12:.3f} TFLOP/s in {str(dtype).removeprefix('torch.')}"
                             for dtype, rate in self.matmul.items())
        return f"matrix products of side {SIDE} {products}; copying {self.copy / 1e9:.1f} GB/s read and written"


def ceilings(rounds: int = 8) -> Ceilings:
    """Measured here and now, with torch's threads: the best of `rounds`. One thread is timed by the processor, since
    other work on the machine is no limit of it; more by the clock."""
    matmul = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, SIDE, SIDE).to(dtype)
        matmul[dtype] = 2 * SIDE**3 / best(lambda a=a, b=b: a @ b, rounds)
    source, target = torch.zeros(2, BYTES // 4).unbind()
    return Ceilings(matmul, 2 * BYTES / best(lambda: target.copy_(source), rounds))


def best(work: Any, rounds: int) -> float:
    times = []
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(rounds + 1):
        began = clock()
        work()
        times.append(clock() - began)
    return min(times[1:])


class Counter(TorchDispatchMode):
    """Counts while it is entered: `with Counter() as counted: …; counted.operations`. Fourier transforms and
    whatever works element by element count nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: dict[torch.dtype, float] = defaultdict(float)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None:
            with self:  # into what is counted, where there is such a way
                made = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if made is NotImplemented else made
        out = func(*args, **kwargs)
        first: Tensor = out[0] if isinstance(out, tuple) else out
        self.operations[first.dtype] += count(*args, **kwargs, out_val=out)
        return out
