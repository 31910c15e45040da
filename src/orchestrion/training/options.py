"""What a run is told besides its recipe, and the Fabric that follows from it: device, precision, processes."""

from dataclasses import dataclass
from typing import Any

import torch

from orchestrion.devices import choose_device, choose_dtype
from orchestrion.errors import UserError
from orchestrion.training.logs import check_logs

PRECISIONS = {"auto": "auto", "bf16": "bfloat16", "fp32": "float32"}


@dataclass(frozen=True)
class TrainOptions:
    stage: str | None = None  # train only this one
    max_minutes: float | None = None
    device: str = "auto"
    processes: int = 1
    precision: str = "auto"  # auto, bf16 or fp32
    seed: int = 0
    logs: tuple[str, ...] = ()  # beside CSV
    checkpoint_minutes: float = 2.0
    demo_minutes: float = 10.0
    start: tuple[str, ...] = ()  # what `--from` names

    def check(self) -> None:
        """Raises UserError where a figure can't be meant."""
        for name in ("max_minutes", "checkpoint_minutes", "demo_minutes"):
            if (minutes := getattr(self, name)) is not None and not minutes > 0:
                raise UserError(f"--{name.replace('_', '-')} must be above zero, got {minutes:g}")
        if self.processes < 1:
            raise UserError(f"--processes must be at least 1, got {self.processes}")
        if self.precision not in PRECISIONS:
            raise UserError(f"--precision is auto, bf16 or fp32, not {self.precision!r}")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"--seed is a whole number from 0 to 2^63 - 1, not {self.seed}")
        check_logs(self.logs)


def make_fabric(options: TrainOptions) -> Any:
    """Device, precision and processes."""
    import logging
    import warnings

    from lightning.fabric import Fabric

    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
    for side in ("fabric", "pytorch"):  # "Using bfloat16 …": it speaks through either
        logging.getLogger(f"lightning.{side}.utilities.rank_zero").setLevel(logging.WARNING)
    device = choose_device(options.device)
    dtype = choose_dtype(PRECISIONS[options.precision], device)
    return Fabric(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=options.processes if device.index is None else [device.index],
        strategy="ddp" if options.processes > 1 else "auto",
        precision="bf16-mixed" if dtype == torch.bfloat16 else "32-true",
    )
