"""A vocoder beside phase recovery: the same mel images of held-out clips made into sound by both.

    python benchmarks/vocoder.py MODEL --data CORPUS [--clips 8] [--seconds 6] [--picture out.png]

MODEL: a trained `hifigan`, over images that phase recovery can turn into sound too. Distances to the clip itself:
log-mel L1 (nepers), the mean of STFT distances at windows from 512 to 16384, and the error of the level. CPU seconds a
second of sound, one thread.
"""

import argparse
import time
from pathlib import Path
from statistics import mean, median

import torch
from common import count, duration, machine, run, table
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.audio.plots import plot_spectrograms
from orchestrion.codecs.hifigan import HifiGan
from orchestrion.contracts import Codec
from orchestrion.corpus.corpus import Corpus
from orchestrion.errors import UserError
from orchestrion.evaluation.clips import held_out
from orchestrion.evaluation.flatness import flatness
from orchestrion.evaluation.log_mel import log_mel_l1
from orchestrion.evaluation.multi_resolution import stft_distances
from orchestrion.systems.folder import load_model
from orchestrion.systems.shelf import find_model


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model folder of a hifigan")
    parser.add_argument("--data", type=Path, required=True, help="the corpus: its validation and test pieces are real")
    parser.add_argument("--clips", type=count, default=8)
    parser.add_argument("--seconds", type=duration, default=6.0)
    parser.add_argument("--picture", type=Path, help="spectrograms of a real clip and of both ways back (png)")
    args = parser.parse_args()

    torch.set_num_threads(1)
    codec, corpus = load_model(find_model(args.model)).system.codec, Corpus.open(args.data)
    if not isinstance(codec, HifiGan):
        raise UserError(f"{args.model} is no HiFi-GAN but a {type(codec).__name__}: train one by `orchestrion train "
                        "hifigan`")
    rate = codec.sample_rate
    real = [Audio(clip.audio.mean(0, keepdim=True), corpus.sample_rate).resample(rate).samples
            for clip in held_out(corpus, args.clips, args.seconds)]
    ways: dict[str, Codec] = {"phase recovery": codec.image, "vocoder": codec}
    made = {name: [turned(way, clip) for clip in real] for name, way in ways.items()}
    rows = [["real", "0", "0", "0", f"{median(flatness(clip) for clip in real):.4f}", ""]]
    for name, found in made.items():
        clips = [sound for sound, _ in found]
        rows.append([name, f"{mean(log_mel_l1(r, m, rate) for r, m in zip(real, clips)):.3f}",
                     f"{mean(mean(stft_distances(r, m).values()) for r, m in zip(real, clips)):.3f}",
                     f"{mean(abs(20 * (m.std() / r.std()).log10().item()) for r, m in zip(real, clips)):.1f}",
                     f"{median(flatness(clip) for clip in clips):.4f}",
                     f"{mean(spent for _, spent in found) / args.seconds:.3f}"])
    print(f"{args.model}: {len(real)} clips of {args.seconds:g} s; {machine()}\n")
    print(table(["", "log-mel L1", "STFT 512-16384", "level, dB", "flatness", "CPU s a second"], rows))
    if args.picture:
        shown = [Audio(sound, rate) for sound in (real[0], made["phase recovery"][0][0], made["vocoder"][0][0])]
        plot_spectrograms(shown, args.picture, ["real", "phase recovery", "vocoder"])
    return 0


@torch.inference_mode()
def turned(codec: Codec, clip: Tensor) -> tuple[Tensor, float]:
    """clip `[1 t]` through its image and back, and the CPU seconds of the way back."""
    image = codec.encode(clip[None])
    began = time.process_time()
    return codec.decode(image, clip.shape[-1])[0], time.process_time() - began


if __name__ == "__main__":
    run(main)
