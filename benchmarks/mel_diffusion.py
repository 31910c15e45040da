"""A step of the published 256x256 mel U-Net beside diffusers' own, and phase recovery beside librosa's.

    python benchmarks/mel_diffusion.py unet [--rounds 3] [--threads 1]
    python benchmarks/mel_diffusion.py phases CLIP... [--python PYTHON-WITH-LIBROSA]

Seconds are of CPU time, summed over threads, so that what else the machine does counts less; the median of rounds
in which the contenders take turns.
"""

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable

import torch

from orchestrion.audio import Audio
from orchestrion.audio.phases import MelInverse, griffin_lim
from orchestrion.audio.spectra import STFT, mel_filterbank
from orchestrion.contracts import Conditioning, Continuous
from orchestrion.nn.unet2d import UNet2dConfig

LIBROSA = """
import json, sys, time, librosa, numpy as np
for clip in json.load(sys.stdin):
    S = np.abs(librosa.stft(np.array(clip, np.float32), n_fft=2048, hop_length=512))
    def error(made):
        T = np.abs(librosa.stft(made, n_fft=2048, hop_length=512))
        return float(np.linalg.norm(T - S) / np.linalg.norm(S))
    librosa.griffinlim(S, n_iter=1)
    t = time.process_time(); made = librosa.griffinlim(S, n_iter=32, n_fft=2048, hop_length=512)
    phases = time.process_time() - t
    mel = librosa.filters.mel(sr=22050, n_fft=2048, n_mels=256) @ S ** 2
    t = time.process_time(); whole = librosa.feature.inverse.mel_to_audio(mel, sr=22050, n_fft=2048, hop_length=512)
    print(json.dumps([phases, error(made), time.process_time() - t, error(whole)]))
"""


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def unet(rounds: int) -> None:
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    theirs = UNet2DModel(
        sample_size=256, in_channels=1, out_channels=1, layers_per_block=2, norm_num_groups=32,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4).eval()
    ours = UNet2dConfig().build(Continuous(1, 43.0, 256), None).eval()
    ours.load_state_dict(theirs.state_dict())
    half = UNet2DModel.from_config(theirs.config).eval()
    half.load_state_dict(theirs.state_dict())
    half = half.to(torch.bfloat16).to(memory_format=torch.channels_last)
    x, time_now = torch.randn(1, 1, 256, 256), torch.tensor([0.501])
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            net = ours.prepared()
        work = {"diffusers, fp32 (teticio's call)": lambda: theirs(x, 500).sample,
                "diffusers, bf16 and channels_last": lambda: half(x.bfloat16(), 500).sample,
                "ours, bf16 and channels_last": lambda: net(x, time_now, Conditioning())}
        want = work["diffusers, fp32 (teticio's call)"]()
        off = {name: ((run().float() - want).norm() / want.norm()).item() for name, run in work.items()}
        taken: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(rounds):
            for name, run in work.items():
                taken[name].append(cpu_seconds(run))
    base = statistics.median(taken["diffusers, fp32 (teticio's call)"])
    for name, seconds in taken.items():
        print(f"{name:36} {statistics.median(seconds):6.2f} s  {base / statistics.median(seconds):5.2f}x  "
              f"relative error {off[name]:.4f}")


def phases(paths: list[str], python: str) -> None:
    stft, filters = STFT(2048, 512), mel_filterbank(22_050, 2048, 256)
    inverse = MelInverse(filters)
    clips = [Audio.read(path, 20.0, 6.0).resample(22_050).samples[0, : 255 * 512] for path in paths]
    peer = subprocess.run([python, "-c", LIBROSA], input=json.dumps([c.tolist() for c in clips]), text=True,
                          capture_output=True, check=True).stdout.splitlines()
    for path, clip, line in zip(paths, clips, peer):
        magnitude = stft(clip).abs()
        mel = filters @ magnitude.square()

        def error(made: torch.Tensor, magnitude: torch.Tensor = magnitude) -> float:
            return ((stft(made).abs() - magnitude).norm() / magnitude.norm()).item()

        def whole(mel: torch.Tensor = mel) -> torch.Tensor:
            return griffin_lim(stft, inverse(mel).sqrt())

        griffin_lim(stft, magnitude, 1)
        taken, taken_whole = cpu_seconds(lambda m=magnitude: griffin_lim(stft, m)), cpu_seconds(whole)
        there = json.loads(line)
        print(f"{path}: phases {taken:.3f} s (error {error(griffin_lim(stft, magnitude)):.3f}), "
              f"librosa {there[0]:.3f} s ({there[1]:.3f}); from mel {taken_whole:.3f} s "
              f"({error(whole()):.3f}), librosa {there[2]:.3f} s "
              f"({there[3]:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("unet", "phases"))
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--python", default="python", help="one that has librosa")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.what == "unet":
        unet(given.rounds)
    else:
        phases(given.clips, given.python)


if __name__ == "__main__":
    main()
