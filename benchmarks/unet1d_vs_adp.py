"""A step of Moûsai's U-Net beside audio-diffusion-pytorch's: 217M parameters, stereo, 2^18 samples (5.46 s at 48 kHz).

    python benchmarks/unet1d_vs_adp.py PYTHON      of an environment with torch and audio-diffusion-pytorch==0.1.3

Both in worker processes of their own, in turns; processor time of one thread, so that what else runs counts less.
"""

import argparse
import subprocess
import sys
from statistics import median

from common import machine, run, table

SETTINGS = """
import time, torch
torch.set_num_threads(1)
sizes = dict(channels=(8, 32, 64, 128, 256, 512, 512, 1024, 1024), factors=(1, 4, 4, 4, 2, 2, 2, 2, 2),
             items=(1, 2, 2, 2, 2, 2, 2, 4, 4), attentions=(0, 0, 0, 0, 0, 1, 1, 1, 1))
x, t = torch.randn(1, 2, 2**18), torch.tensor([0.5])
"""
THEIRS = SETTINGS + """
import warnings; warnings.filterwarnings("ignore")
from audio_diffusion_pytorch import UNetV0
net = UNetV0(dim=1, in_channels=2, attention_heads=8, attention_features=64, **sizes).eval()
step = lambda: net(x, time=t)
"""
OURS = SETTINGS + """
from orchestrion.nn.unet1d import UNet1d, UNet1dConfig
net = UNet1d(UNet1dConfig(**sizes), 2, 2).eval()
step = lambda: net(x, t)
"""
LOOP = """
import sys
while line := sys.stdin.readline().strip():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=line == "bfloat16"):
        step()
        began = time.process_time()
        step()
        print(time.process_time() - began, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("python", help="the interpreter of audio-diffusion-pytorch's environment")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    workers = {"theirs": worker(args.python, THEIRS), "ours": worker(sys.executable, OURS)}
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(args.pairs):
        for dtype in ("float32", "bfloat16"):
            for name, process in workers.items():
                seconds.setdefault((name, dtype), []).append(ask(process, dtype))
    figures = {key: median(values) for key, values in seconds.items()}
    base = figures["theirs", "float32"]
    print(f"median of {args.pairs}, one thread; {machine()}\n")
    print(table(["", "seconds a step", "theirs in fp32 / this", "theirs at equal precision / this"],
                [[f"{name}, {dtype}", value, base / value, figures["theirs", dtype] / value]
                 for (name, dtype), value in figures.items()]))


def worker(python: str, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([python, "-c", code + LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(process: subprocess.Popen[str], dtype: str) -> float:
    assert process.stdin and process.stdout
    process.stdin.write(dtype + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


if __name__ == "__main__":
    run(main)
