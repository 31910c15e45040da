"""RAVE v2 beside acids-rave: 30 s of 48 kHz mono encoded and decoded, and causal streaming in blocks of 2048.

    python benchmarks/rave_speed.py PYTHON_WITH_ACIDS_RAVE [--threads 1] [--rounds 3]

Both sides run in worker processes of their own, in turn, on the same threads; figures are CPU seconds, the least of
the rounds (other work on the machine only ever adds). acids-rave's weight norm is folded in its favour, and it runs in
float32 as its exports do; ours in bfloat16, and in float32 beside it. How acids-rave is installed: docs/rave.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

SECONDS, RATE, BLOCK, BLOCKS = 30, 48_000, 2048, 60
ROOT = Path(__file__).resolve().parent.parent


def ours(half: bool) -> dict[str, float]:
    import torch

    from orchestrion.codecs.rave import RaveConfig

    torch.manual_seed(0)
    codec, live = (RaveConfig(sample_rate=RATE, causal=causal).build().eval() for causal in (False, True))
    state: list = [None, None]

    def step(block):
        latents, state[0] = live.encode_stream(block, state[0])
        return live.decode_stream(latents, state[1]) if latents.shape[-1] else None

    def stream(block):
        made = step(block)
        if made is not None:
            state[1] = made[1]

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        return measure(codec.encode, codec.decode, stream)


def theirs() -> dict[str, float]:
    sys.path.insert(0, str(ROOT / "tests" / "fixtures" / "rave"))
    import make
    import torch

    make.dummies()
    whole = folded(make.build("v2", ["SAMPLING_RATE=48000"]))
    live = folded(make.build(("v2", "causal"), ["SAMPLING_RATE=48000"], streaming=True))

    def encode(model, audio):
        return model.encoder.reparametrize(model.encode(audio))[0]

    with torch.inference_mode():
        return measure(lambda audio: encode(whole, audio), whole.decode, lambda b: live.decode(encode(live, b)))


def folded(model):
    from torch import nn

    for module in model.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)
    return model


def measure(encode, decode, stream) -> dict[str, float]:
    """CPU seconds: of encoding, of decoding, and of a block (median)."""
    import time

    import torch

    audio = 0.1 * torch.randn(1, 1, SECONDS * RATE // BLOCK * BLOCK)
    spent, given = {}, audio
    for name, work in (("encode", encode), ("decode", decode)):
        times = []
        for _ in range(2):
            began = time.process_time()
            made = work(given)
            times.append(time.process_time() - began)
        given, spent[name] = made, min(times)
    times = []
    for block in audio.split(BLOCK, -1)[:BLOCKS]:
        began = time.process_time()
        stream(block)
        times.append(time.process_time() - began)
    return spent | {"block": sorted(times[10:])[(BLOCKS - 10) // 2]}


WORKERS = {"acids-rave float32": theirs, "ours float32": lambda: ours(False), "ours bfloat16": lambda: ours(True)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker")
    given = parser.parse_args()
    if given.worker:
        print("figures", json.dumps(WORKERS[given.worker]()))
        return
    import os

    environment = os.environ | {"OMP_NUM_THREADS": str(given.threads)}
    best: dict[str, dict[str, float]] = {}
    for _ in range(given.rounds):
        for name in WORKERS:
            python = given.python if name.startswith("acids") else sys.executable
            done = subprocess.run([python, __file__, given.python, "--worker", name], env=environment,
                                  capture_output=True, text=True)
            lines = [line for line in done.stdout.splitlines() if line.startswith("figures")]
            if not lines:
                sys.exit(f"{name} failed: {done.stderr[-2000:]}")
            figures = json.loads(lines[0].partition(" ")[2])
            best[name] = {key: min(value, best.get(name, {}).get(key, value)) for key, value in figures.items()}
    peer = best["acids-rave float32"]
    for name, figures in best.items():
        whole = figures["encode"] + figures["decode"]
        faster = (peer["encode"] + peer["decode"]) / whole
        print(f"{name}: encode {figures['encode']:.2f} s, decode {figures['decode']:.2f} s of CPU, "
              f"{SECONDS / whole:.1f} x real time a core, {faster:.2f} x acids-rave; "
              f"a block {1000 * figures['block']:.1f} ms, {peer['block'] / figures['block']:.2f} x")


if __name__ == "__main__":
    main()
