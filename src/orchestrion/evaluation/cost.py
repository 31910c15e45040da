"""What a model takes: parameters, speed, latency and memory, each measured in a fresh process."""

import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrion.contracts import Prompt
from orchestrion.devices import peak_memory
from orchestrion.evaluation.player import Load, Player, prompt_for
from orchestrion.evaluation.scoreboard import Cost

SECONDS = 10.0
ROUNDS = 3  # after one to warm up


def measure_cost(load: Load, source: str, prompt: Prompt, options: Mapping[str, Any], minutes: float | None = None,
                 seconds: float = SECONDS) -> Cost:
    """Loads and plays in a process of its own, whose memory is nobody else's.

    x real time: the median of three clips of ten seconds, one at a time, after one to warm up. First sound: from
    asking for such a clip to its first block, for a codec from its latents. minutes: of training, if known.
    """
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(child, load, source, prompt, dict(options), seconds))
    process.start()
    child.close()
    try:
        figures: dict[str, Any] = parent.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{source} could not be measured: its process ended with {process.exitcode}") from None
    process.join()
    if "error" in figures:
        raise RuntimeError(f"{source} could not be measured: {figures['error']}")
    return Cost(**figures, training_minutes=minutes)


def _measure(pipe: Any, load: Load, source: str, prompt: Prompt, options: dict[str, Any], seconds: float) -> None:
    try:
        player = load(source)
        times, first = zip(*(_play(player, prompt, options, seconds, turn) for turn in range(ROUNDS + 1)))
        parameters = sum(p.numel() for p in player.system.parameters())
        pipe.send({"parameters": parameters, "realtime": seconds / statistics.median(times[1:]),
                   "first_sound": statistics.median(first[1:]), "peak_memory": peak_memory()})
    except Exception as error:  # told to the parent, which has the user's ear
        pipe.send({"error": f"{type(error).__name__}: {error}"})


def _play(player: Player, prompt: Prompt, options: dict[str, Any], seconds: float, seed: int) -> tuple[float, float]:
    """Seconds until the whole clip and until its first block. A codec alone decodes noise in its own space."""
    length = round(seconds * player.sample_rate)
    if player.system.generator is None:
        latents = _latents(player, length)
        began = time.perf_counter()
    else:
        settings = player.options(options)
        began = time.perf_counter()
        latents = player.sample([prompt_for(player, prompt)], seconds, [seed], settings)
    first = math.nan
    for block in player.stream(latents, length, seed):
        if math.isnan(first) and block.shape[-1]:
            block.cpu()
            first = time.perf_counter() - began
    return time.perf_counter() - began, first


def _latents(player: Player, length: int) -> Any:
    import torch

    from orchestrion.audio import Audio

    with torch.inference_mode():
        noise = 0.1 * torch.randn(player.channels, length, generator=torch.Generator().manual_seed(0))
        return player.encode(Audio(noise, player.sample_rate))


def training_minutes(run: Path) -> float | None:
    """Of all stages of a run folder, by the seconds a step in their logs; None where there are none."""
    from orchestrion.evaluation.curves import read_log

    total, found = 0.0, False
    for log in sorted(run.glob("stages/*/log.csv")):
        steps, columns = read_log(log)
        seconds = columns.get("seconds")
        if seconds:
            found = True
            total += sum(each * (step - before) for each, step, before in zip(seconds, steps, [0, *steps]))
    return total / 60 if found else None


def stated_minutes(training: Mapping[str, Any]) -> float | None:
    """What a model's card says: the entry "minutes" (recipes/bundle.py writes it)."""
    value = training.get("minutes")
    return float(json.loads(str(value))) if isinstance(value, int | float) else None
