"""Where the time goes: a system's generation and a step of each of its training stages, by torch's own profiler.

    python benchmarks/profiling.py SYSTEM:SIZE... [--seconds 10] [--rows 8]       all systems at `nano` without any

Random weights, one thread unless OMP_NUM_THREADS says otherwise; seconds are of processor time. For each part: its
time, the share of the machine's limit that it reaches (its matrix products, convolutions and attention at the best
matrix product measured just before), and the operators that take the most time themselves.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from ceilings import Ceilings, Counter, ceilings
from common import count, duration, machine, run, table

import orchestrion.systems  # noqa: F401  enters the pages into the table
from orchestrion.audio import Audio
from orchestrion.contracts import Prompt
from orchestrion.playing.model import Model
from orchestrion.systems.folder import About
from orchestrion.systems.system import SYSTEMS, System, find_system
from orchestrion.training.loop import Loop
from orchestrion.training.options import TrainOptions, make_fabric
from orchestrion.training.run import fake_batch

WORDS = "a calm piano piece"
Part = tuple[str, Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("systems", nargs="*", metavar="SYSTEM[:SIZE]")
    parser.add_argument("--seconds", type=duration, default=10.0, help="of sound that is generated")
    parser.add_argument("--rows", type=count, default=8, help="operators shown of each part")
    args = parser.parse_args()
    top = ceilings()
    print(f"{machine()}; ceilings: {top}\n")
    summary = []
    for text in args.systems or SYSTEMS:
        name, _, size = text.partition(":")
        for part, work in parts(name, size or "nano", args.seconds):
            print(f"{text} {part} …", file=sys.stderr)
            row, operators = measure(work, top, args.rows)
            summary.append([text, part, *row])
            print(f"{text}, {part}\n\n{table(['operator', 'calls', 's', 'share'], operators)}\n", flush=True)
    print(table(["system", "part", "s", "share of the limit", "busiest operators"], summary))


def parts(name: str, size: str, seconds: float) -> Iterator[Part]:
    """Generation (of a codec alone: through it and back), then a step of each stage."""
    recipe = find_system(name).recipe(size)
    system = recipe.system.build()
    if system.conditioner is not None:
        system.conditioner.fit([Prompt(text=WORDS, attributes={"tempo": 90.0}), Prompt()])
    model = Model(system, About(name), device="cpu")
    if system.generator is None:
        noise = Audio(0.1 * torch.randn(model.channels, round(seconds * model.sample_rate)), model.sample_rate)
        yield "encode and decode", lambda: model.reconstruct(noise)
    else:
        prompt = WORDS if system.conditioner is not None else None
        yield "generate", lambda: model.generate(prompt, duration=seconds, seed=0)
    for stage in recipe.stages:
        yield f"train {stage.name}", step(recipe.system.build().eval(), stage)


def step(system: System, stage: Any) -> Callable[[], object]:
    """One step of a stage, on noise of the right shape."""
    fabric = make_fabric(TrainOptions())
    trained = system.trained(stage)
    system.requires_grad_(False)
    trained.requires_grad_(True)
    loop = Loop(fabric, stage, trained, stage.objective.build(system).to(fabric.device))
    batch = fake_batch(system, stage, system.codec.channels)

    class Same:
        def batch(self, step: int, size: int) -> Any:
            return batch

    return lambda: loop.run(Same(), loop.step + 1, lambda figures: True)


def measure(work: Callable[[], object], top: Ceilings, rows: int) -> tuple[list[object], list[list[object]]]:
    """Seconds and share of the limit, and the operators by their own time. The first call warms up, the second is
    counted, the third is timed, the fourth looked into."""
    work()
    with Counter() as counter:
        work()
    began = time.process_time()
    work()
    spent = time.process_time() - began
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    events = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events) or 1.0
    operators = [[event.key[:48], event.count, event.self_cpu_time_total / 1e6,
                  f"{100 * event.self_cpu_time_total / whole:.0f} %"] for event in events[:rows]]
    busiest = ", ".join(f"{str(row[0]).removeprefix('aten::')} {row[3]}" for row in operators[:3])
    share = f"{100 * top.seconds(counter.operations) / spent:.0f} %" if spent > 0 else ""
    return [spent, share, busiest], operators


if __name__ == "__main__":
    run(main)
