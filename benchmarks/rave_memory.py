"""Streaming through RAVE, minute by minute of sound: does it hold on to more and more memory, and how long is a block?

    python benchmarks/rave_memory.py [--size tiny] [--minutes 10] [--block 2048]

A causal model of random weights, through `playing.streaming.Stream` as `orchestrion transfer --stream` does. After the
first minute nothing may be added: more than 2 MiB count as growth. Times are of the clock, by OMP_NUM_THREADS threads.
"""

import argparse
import os
import time
from pathlib import Path

import torch
from common import count, machine, run, table

from orchestrion.playing import Model
from orchestrion.playing.streaming import Stream
from orchestrion.systems.folder import About
from orchestrion.systems.rave import rave

MOST = 2.0  # MiB


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--minutes", type=count, default=10)
    parser.add_argument("--block", type=count, default=2048)
    args = parser.parse_args()

    torch.manual_seed(0)
    system = rave(args.size).system.override("codec.causal", "true").build()
    model = Model(system, About(name=f"causal {args.size}"))
    stream = Stream(model, args.block)
    blocks = round(60 * model.sample_rate / args.block)
    sizes, rows = [], []
    for minute in range(1, args.minutes + 1):
        times = []
        for _ in range(blocks):
            block = 0.1 * torch.randn(model.channels, args.block)
            began = time.perf_counter()
            stream(block)
            times.append(1000 * (time.perf_counter() - began))
        sizes.append(resident())
        rows.append([minute, sizes[-1], *(torch.tensor(times).quantile(share).item() for share in (0.5, 0.99))])
    print(machine(), table(("minute", "resident, MiB", "a block, ms", "99 % of blocks, ms"), rows), sep="\n\n")
    growth = max(sizes) - sizes[0]
    print(f"\ngrowth after the first minute: {growth:.2f} MiB over {(args.minutes - 1) * blocks} blocks")
    return int(growth > MOST)


def resident() -> float:
    """MiB of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    run(main)
