"""Phase recovery of mel images beside librosa's: time, and how far the magnitudes are off.

    python benchmarks/phase_recovery.py CLIP... [--python PYTHON-WITH-LIBROSA] [--threads 1]

Seconds are of CPU time, summed over threads, so that what else the machine does counts less.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable

import torch

from orchestrion.audio import Audio
from orchestrion.audio.phases import MelInverse, griffin_lim
from orchestrion.audio.spectra import STFT, mel_filterbank

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
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--python", default="python", help="one that has librosa")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    phases(args.clips, args.python)


if __name__ == "__main__":
    main()
