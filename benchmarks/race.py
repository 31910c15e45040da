"""Ours beside the peers: the same work, random weights at the published sizes, the same threads, in turns.

    python benchmarks/race.py [PAIR...] [--peers FOLDER] [--rounds N] [--threads 1]
    python benchmarks/race.py --show             # the table of all that was raced, from the kept results

Installs every peer into an environment of its own under FOLDER, if it isn't there yet (some gigabytes, minutes), and
races pair after pair; a file is kept for each, so that a run that was stopped goes on with `--missing`. Each side is a
process of its own that does one task when it is told to; sides take turns, and who begins changes with every round.
Ratios are their time over ours: the median over rounds, with a 95 % bootstrap interval. With one thread they are of
processor time, which other work on the machine distorts least; with more, of the clock. Where the processor has AMX
everything is run twice, with it and without (ONEDNN_MAX_CPU_ISA).
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
from ceilings import Ceilings, ceilings
from common import count, run, table
from contest import PAIRS
from contest.figures import ratio
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, find_pair

from orchestrion.devices import cpu_flags, cpu_name
from orchestrion.errors import UserError, did_you_mean
from orchestrion.storage import replacing

HERE = Path(__file__).resolve().parent
WITHOUT_AMX = "AVX512_CORE_BF16"
BAR = 0.95  # lower bound of the ratio at equal size, precision and library


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pairs", nargs="*", metavar="PAIR", help=f"of {', '.join(PAIRS)}; all without")
    parser.add_argument("--peers", type=Path, default=Path("peers"), help="folder of the environments and the results")
    parser.add_argument("--rounds", type=count, help="5, or 3 of what takes long")
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--missing", action="store_true", help="only what has no result yet")
    parser.add_argument("--install", action="store_true", help="only install the peers")
    parser.add_argument("--show", action="store_true", help="only print the kept results")
    args = parser.parse_args()
    for name in args.pairs:
        if name not in PAIRS:
            raise UserError(f"there is no pair {name!r}; {did_you_mean(name, PAIRS)}")
    names = args.pairs or list(PAIRS)
    results = args.peers.resolve() / "results"
    if not args.show:
        enter(names, args, results)
    if args.install:
        return 0
    found = [json.loads(path.read_text()) for name in names for path in sorted(results.glob(f"{name}-*.json"))]
    if not found:
        raise UserError(f"nothing has been raced yet in {results}")
    print(report(found))
    return 1 if any(row["verdict"] == "FAIL" for each in found for row in rows(each)) else 0


def enter(names: list[str], args: argparse.Namespace, results: Path) -> None:
    """Installs, then races, pair after pair; one that fails is told of, and the others go on."""
    release = torch.__version__.partition("+")[0]
    failed = []
    for name in names:
        pair = find_pair(name)
        try:
            python = pair.environment.prepare(args.peers.resolve(), release)
        except (subprocess.CalledProcessError, OSError) as error:
            failed.append(f"{name}: can't be installed ({error})")
            continue
        for isa in ([] if args.install else sets()):
            kept = results / f"{name}-{isa or 'all'}.json"
            if args.missing and kept.exists():
                continue
            try:
                made = race(name, pair, python, args.rounds or pair.rounds, args.threads, isa, results)
            except RuntimeError as error:
                failed.append(f"{name}: {error}")
                continue
            with replacing(kept) as part:
                part.write_text(json.dumps(made, indent=1))
    for line in failed:
        print("error:", line, file=sys.stderr)


def sets() -> list[str]:
    """Instruction sets to race with: all there are, and, where there is AMX, those without it."""
    return ["", WITHOUT_AMX] if "amx_bf16" in cpu_flags() else [""]


class Worker:
    """A side in its own process, which answers line by line."""

    def __init__(self, python: Path | str, name: str, side: str, threads: int, isa: str, log: Path) -> None:
        code = (f"import sys; sys.path.append({str(HERE)!r}); "
                f"from contest.worker import main; main({name!r}, {side!r}, {threads})")
        numbers = {key: str(threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
                                                 "TF_NUM_INTEROP_THREADS")}
        environment = os.environ | numbers | ({"ONEDNN_MAX_CPU_ISA": isa} if isa else {})
        log.parent.mkdir(parents=True, exist_ok=True)
        self.side, self.log = side, log
        with log.open("w") as errors:
            self.process = subprocess.Popen([str(python), "-P", "-c", code], stdin=subprocess.PIPE, text=True,
                                            stdout=subprocess.PIPE, stderr=errors, env=environment)

    def ask(self, *words: str) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(" ".join(words) + "\n")
            self.process.stdin.flush()
            reply = json.loads(self.process.stdout.readline() or '{"error": "it ended"}')
        except BrokenPipeError:
            reply = {"error": "it ended"}
        if "error" in reply:
            raise RuntimeError(f"{self.side} failed at {' '.join(words)}: {reply['error']} (see {self.log})")
        return reply

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def race(name: str, pair: Pair, python: Path, rounds: int, threads: int, isa: str, results: Path) -> dict[str, Any]:
    """All times of a pair, as they are kept."""
    torch.set_num_threads(threads)
    top = ceilings()
    times: dict[str, dict[str, list[float]]] = {}
    with (Worker(python, name, THEIRS, threads, isa, results / f"{name}-theirs.log") as theirs,
          Worker(sys.executable, name, OURS, threads, isa, results / f"{name}-ours.log") as ours):
        contestants = [(worker, precision) for worker in (theirs, ours) for precision in pair.builders[worker.side]]
        parameters, operations = {}, {}
        for worker, precision in contestants:
            parameters[worker.side] = worker.ask("build", precision)["parameters"]
            for task in pair.tasks:  # warms up
                if worker is ours:
                    operations[f"{task} {precision}"] = ours.ask("count", precision, task)
                else:
                    worker.ask("run", precision, task)
        for turn in range(rounds):
            for task in pair.tasks:
                for worker, precision in contestants if turn % 2 == 0 else contestants[::-1]:
                    spent = worker.ask("run", precision, task)
                    kept = times.setdefault(f"{worker.side} {task} {precision}", {"wall": [], "cpu": []})
                    for clock, seconds in spent.items():
                        kept[clock].append(seconds)
                    print(f"{name} {turn + 1}/{rounds}: {worker.side}, {precision}, {task}: {spent['wall']:.2f} s, "
                          f"{spent['cpu']:.2f} s of processor", file=sys.stderr, flush=True)
    rates = {str(dtype).removeprefix("torch."): rate for dtype, rate in top.matmul.items()}
    return {"pair": name, "date": str(date.today()), "machine": cpu_name(), "amx": "amx_bf16" in cpu_flags(),
            "threads": threads, "isa": isa, "torch": torch.__version__, "matmul": rates, "copy": top.copy,
            "busy": os.getloadavg()[1], "parameters": parameters, "operations": operations, "times": times}


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What a kept result says of each task, at each precision of ours: beside the peer as shipped, and at the same
    precision."""
    pair, clock = find_pair(found["pair"]), "cpu" if found["threads"] == 1 else "wall"
    made = []
    for task, seconds in pair.tasks.items():
        shipped = found["times"][f"{THEIRS} {task} {pair.shipped}"][clock]
        precisions = [precision for precision in (FLOAT, HALF) if f"{OURS} {task} {precision}" in found["times"]]
        for precision in precisions:
            ours = found["times"][f"{OURS} {task} {precision}"][clock]
            equal = found["times"].get(f"{THEIRS} {task} {precision}", {}).get(clock)
            over_shipped, over_equal = ratio(shipped, ours), ratio(equal, ours) if equal else None
            rates, counted = ({getattr(torch, key): value for key, value in each.items()}
                              for each in (found["matmul"], found["operations"][f"{task} {precision}"]))
            limit = Ceilings(rates, found["copy"]).seconds(counted)
            bars = []
            if pair.same_size and over_equal:
                bars.append(over_equal.low >= BAR)
            if precision == precisions[-1] and task in (pair.times or {}):
                bars.append(over_shipped.value >= (pair.times or {})[task])
            made.append({"task": task, "precision": precision, "theirs": median(equal or shipped), "ours": median(ours),
                         "realtime": seconds / median(ours), "shipped": over_shipped, "equal": over_equal,
                         "limit": limit, "verdict": "" if not bars else "holds" if all(bars) else "FAIL"})
    return made


def report(found: list[dict[str, Any]]) -> str:
    """All kept results as Markdown."""
    lines = []
    for each in found:
        for row in rows(each):
            sizes = " / ".join(f"{each['parameters'][side] / 1e6:.0f}" for side in (OURS, THEIRS))
            lines.append([find_pair(each["pair"]).title, each["isa"] or "all", sizes, row["task"], row["precision"],
                          row["theirs"], row["ours"], row["realtime"], str(row["shipped"]), str(row["equal"] or ""),
                          f"{100 * row['limit'] / row['ours']:.0f} %", row["verdict"]])
    heads = ["pair", "instructions", "parameters, M, ours / theirs", "task", "precision", "theirs, s", "ours, s",
             "ours, x real time", "ahead of the peer as shipped", "ahead at equal precision",
             "ours: share of the machine's limit", ""]
    said = [f"{find_pair(each['pair']).title}: {find_pair(each['pair']).work}, beside {find_pair(each['pair']).peer}; "
            f"{find_pair(each['pair']).note + '; ' if find_pair(each['pair']).note else ''}{each['date']}, "
            f"{each['machine']}, {'with' if each['amx'] else 'without'} AMX, {each['threads']} threads, torch "
            f"{each['torch']}, load {each['busy']:.1f}; ceilings "
            + ", ".join(f"{rate / 1e12:.3f} TFLOP/s in {key}" for key, rate in each["matmul"].items())
            + f", copying {each['copy'] / 1e9:.1f} GB/s" for each in found]
    return "\n".join([table(heads, lines), "", *(f"- {line}" for line in said)])


if __name__ == "__main__":
    run(main)
