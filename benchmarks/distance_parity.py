"""Our Fréchet and kernel distances beside fadtk's and kadtk's own functions, on the same embeddings.

    pip install --no-deps --target peers-fad fadtk kadtk
    python benchmarks/distance_parity.py peers-fad

Only their mathematics is called: the models and loaders that they import are left out, so that neither
TensorFlow nor an old torch is needed.
"""

import argparse
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import torch
from common import machine, run, table

from orchestrion.evaluation.frechet import frechet, frechet_infinite
from orchestrion.evaluation.kernel import bandwidth, kernel_distance
from orchestrion.evaluation.points import Points

NOT_NEEDED = ("hypy_utils", "hypy_utils.tqdm_utils", "hypy_utils.logging_utils", "hypy_utils.nlp_utils",
              "hypy_utils.scientific_utils", "soundfile", "torchaudio")
CASES = ((1000, 64, 0.1, 1.1), (1000, 128, 0.0, 1.0), (200, 64, 0.3, 0.7), (600, 16, 0.0, 1.0))
"""Points, dimensions, and how far the made cloud is moved and scaled."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("peers", type=Path, help="the folder that pip installed into")
    args = parser.parse_args()
    for name in NOT_NEEDED:
        sys.modules[name] = MagicMock()
    for package, parts in (("fadtk", ("model_loader", "utils")), ("kadtk", ("model_loader", "utils", "emb_loader"))):
        whole = sys.modules[package] = ModuleType(package)
        whole.__path__ = [str(args.peers / package)]
        for part in parts:
            sys.modules[f"{package}.{part}"] = MagicMock()
        sys.modules[f"{package}.utils"] = SimpleNamespace(PathLike=object, __all__=["PathLike"])  # type: ignore[assignment]
    sys.modules["hypy_utils.tqdm_utils"].tq = lambda items, desc: items  # type: ignore[attr-defined]
    from fadtk.fad import FrechetAudioDistance, calc_embd_statistics, calc_frechet_distance
    from kadtk.kad import calc_kernel_audio_distance, median_pairwise_distance

    rows, failed = [], 0
    for count, size, shift, scale in CASES:
        rng = np.random.default_rng(count + size)
        mixing = rng.standard_normal((size, size)) / size**0.5
        real = rng.standard_normal((count, size)) @ mixing
        made = (shift + scale * rng.standard_normal((count, size))) @ mixing
        theirs = float(calc_frechet_distance(*calc_embd_statistics(real), *calc_embd_statistics(made)))
        rows.append(["FAD", f"{count} x {size}", frechet(real, made), theirs])
        clouds = [Points.of([row[None] for row in each]) for each in (real, made)]
        tensors = [torch.from_numpy(each) for each in (made, real)]
        width = float(median_pairwise_distance(tensors[1]))
        theirs = float(calc_kernel_audio_distance(*tensors, (None, None), "cpu", width, precision=torch.float64))
        rows.append(["KAD, their bandwidth", f"{count} x {size}", kernel_distance(*clouds, width), theirs])
        theirs = float(calc_kernel_audio_distance(*tensors, (None, None), "cpu"))
        rows.append(["KAD, own bandwidth, theirs in float32", f"{count} x {size}", kernel_distance(*clouds), theirs])
        rows.append(["bandwidth", f"{count} x {size}", bandwidth(clouds[0]), width])
        if count > 500:
            fake = MagicMock()
            fake.load_stats.return_value = calc_embd_statistics(real)
            fake._load_embeddings.return_value = made
            np.random.seed(0)
            theirs = float(FrechetAudioDistance.score_inf(fake, "real", [Path("made")], steps=25, min_n=500).score)
            ours = [frechet_infinite(real, made, seed, both=False, sizes=25) for seed in range(5)]
            rows.append(["FAD∞, the made side alone", f"{count} x {size}", float(np.mean(ours)), theirs])
    for row in rows:
        difference = abs(row[2] - row[3])
        row.append(difference / max(abs(row[3]), 1e-12))
        failed += row[0] in ("FAD", "KAD, their bandwidth") and difference > 1e-6 * max(1.0, abs(row[3]))
    print(f"{machine()}\n")
    form = [[row[0], row[1], *(f"{value:.8g}" for value in row[2:4]), f"{row[4]:.1e}"] for row in rows]
    print(table(["", "points x dimensions", "ours", "theirs", "relative difference"], form))
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
