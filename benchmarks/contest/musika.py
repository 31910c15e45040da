"""Musika, 48 s of 44.1 kHz stereo from noise, beside the authors' own code under TensorFlow: generator, both decoders
of both channels, inverse STFT.

Theirs runs as `musika_generate.py` does, with random weights, on the CPU. In bfloat16 their models are built under
Keras' policy of that name, which they don't offer (theirs is float16, for GPUs).
"""

import os
import sys
from pathlib import Path
from unittest.mock import MagicMock

from contest.environment import Environment
from contest.pair import FLOAT, HALF, OURS, THEIRS, Pair, Tasks

WINDOWS = 2  # of 256 latents: what the authors' code makes for 23 to 45 s
SECONDS = WINDOWS * 256 * 4096 / 44_100
CHECKOUT = ("musika", "https://github.com/marcoppasini/musika", "b1e6e79dd99b041935a142c19f2c785efff6f461")


class Arguments(dict):  # type: ignore[type-arg]
    __getattr__ = dict.__getitem__


def theirs(half: bool) -> Tasks:
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    for unused in ("matplotlib", "matplotlib.pyplot", "gradio"):
        sys.modules[unused] = MagicMock()
    sys.path.insert(0, str(Path(sys.prefix) / CHECKOUT[0]))
    import numpy as np
    import tensorflow as tf
    from models import Models_functions
    from utils import Utils_functions

    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if half else "float32")
    args = Arguments(hop=256, mel_bins=256, sr=44100, small=False, latdepth=64, coorddepth=64, base_channels=128,
                     shape=128, window=64, mixed_precision=False, mu_rescale=-25.0, sigma_rescale=75.0,
                     datatype=tf.bfloat16 if half else tf.float32, latlen=256, coordlen=384)
    build, tools = Models_functions(args), Utils_functions(args)
    generator, first, second = build.build_generator(), build.build_decoder(), build.build_decoder2()

    def generate() -> None:
        made = tools.generate_waveform(tools.get_noise_interp_multi(WINDOWS, 2.0), generator, first, second,
                                       batch_size=64)
        assert abs(made.shape[0] / 44_100 - SECONDS) < 1 and np.isfinite(made).all()

    return Tasks(sum(net.count_params() for net in (generator, first, second)), {"generate": generate})


def ours(dtype: str) -> Tasks:
    import orchestrion.systems  # noqa: F401  enters the pages into the table
    from orchestrion.playing.model import Model
    from orchestrion.systems.folder import About
    from orchestrion.systems.system import find_system

    model = Model(find_system("musika").recipe("paper").system.build(), About("musika"), device="cpu", dtype=dtype)
    return Tasks.of(model.system, generate=lambda: model.generate(duration=SECONDS, seed=0))


PAIR = Pair(
    title="Musika `paper`", peer="the authors' code, TensorFlow 2.21", work=f"{SECONDS:.0f} s, 44.1 kHz stereo",
    environment=Environment("musika", ("tensorflow-cpu==2.21.0", "tf-keras==2.21.0", "h5py", "huggingface_hub",
                                       "librosa", "tqdm"), checkouts=(CHECKOUT,)),
    builders={THEIRS: {FLOAT: lambda: theirs(False), HALF: lambda: theirs(True)},
              OURS: {FLOAT: lambda: ours(FLOAT), HALF: lambda: ours(HALF)}},
    tasks={"generate": SECONDS}, same_size=False, times={"generate": 3.0},
    note="the same layers in another library")
