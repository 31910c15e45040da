"""What this machine has, what it lacks, and the fix for each."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FREE_GIB = 5


@dataclass(frozen=True)
class Finding:
    """needed: without it, something that every user does fails."""

    what: str
    good: bool
    found: str
    fix: str = ""
    needed: bool = False


def check_up() -> list[Finding]:
    return [_python(), *_torch(), _processor(), _accelerator(), _audio_files(), _bundled(), _fluidsynth(),
            _soundfonts(), _disk(Path.cwd()), _disk(Path(tempfile.gettempdir()))]


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding("Python", good, platform.python_version(), "" if good else "install Python 3.11 or newer",
                   needed=True)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", False, str(error), "pip install -c constraints.txt orchestrion", needed=True)
        return
    good = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) >= (2, 5)
    yield Finding("torch", good, f"{torch.__version__}, {torch.get_num_threads()} threads",
                  "" if good else "pip install -U 'torch>=2.5'", needed=True)


def _processor() -> Finding:
    from orchestrion.devices import cpu_flags, cpu_name, has_fast_bfloat16

    units = "AMX" if "amx_bf16" in cpu_flags() else "AVX-512 BF16"
    return Finding("CPU", True, f"{cpu_name()}, {os.cpu_count()} cores, "
                   + (f"{units}: bfloat16 is used" if has_fast_bfloat16() else "no AMX: float32 is used"))


def _accelerator() -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding("GPU", True, f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        return Finding("GPU", True, "Apple GPU (mps)")
    fix = ""
    if shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        fix = "there is an NVIDIA GPU, but this torch can't use it: install the CUDA build of torch"
    return Finding("GPU", not fix, "none in use; everything runs on the CPU", fix)


def _audio_files() -> Finding:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        return Finding("audio files", False, str(error), "pip install -U soundfile", needed=True)
    lacking = [name for name in ("WAV", "FLAC", "OGG", "MP3") if name not in soundfile.available_formats()]
    return Finding("audio files", not lacking, f"libsndfile {soundfile.__libsndfile_version__}"
                   + (f", without {', '.join(lacking)}" if lacking else " with wav, flac, ogg, mp3"),
                   "pip install -U soundfile (its wheel carries libsndfile 1.2)" if lacking else "", needed=True)


def _bundled() -> Finding:
    from orchestrion.systems.shelf import bundled_models

    names = ", ".join(bundled_models())
    return Finding("models", bool(names), names or "none bundled",
                   "" if names else "install the package again: its models folder is empty", needed=True)


def _fluidsynth() -> Finding:
    place = shutil.which("fluidsynth")
    return Finding("FluidSynth", place is not None, place or "not found (only needed to prepare a MIDI corpus)",
                   "" if place else _install("fluidsynth", "fluid-synth"))


def _soundfonts() -> Finding:
    from orchestrion.corpus.rendering import PLACES

    folders = [Path(folder).expanduser() for folder in PLACES]
    found = sorted(str(file) for folder in folders if folder.is_dir()
                   for file in folder.iterdir() if file.suffix.lower() in (".sf2", ".sf3"))
    return Finding("soundfonts", bool(found), ", ".join(found) or "none found (only needed for a MIDI corpus)",
                   "" if found else "download any .sf2 file and give it as --soundfont"
                   if sys.platform == "darwin" else "apt-get install fluid-soundfont-gm")


def _install(debian: str, brew: str) -> str:
    return f"brew install {brew}" if sys.platform == "darwin" else f"apt-get install {debian}"


def _disk(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free / 2**30
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding("disk", False, f"{folder}: {error.strerror}", "work in a folder that you may write to")
    good = free >= FREE_GIB
    return Finding("disk", good, f"{folder}: {free:.0f} GiB free",
                   "" if good else f"free some space: a corpus and its training want {FREE_GIB} GiB or more")
