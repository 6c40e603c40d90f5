"""Whether what `memory.py` computes is what a step takes: measured on a CPU at SD1.5's true size.

    python benchmarks/memory_check.py          # 12 GB, ten minutes of one core

Whole optimiser steps in float32, 512 pixels, random weights: the process's resident memory at its highest in
the step, beyond that before it; beside it the same step computed. glibc keeps small freed blocks to itself,
up to as much again, so here every block of 64 KB and more is given back as it is freed (`mallopt`).
Writes `benchmarks/results/memory_check.json`. Linux only.
"""

import argparse
import ctypes
import dataclasses
import gc
from pathlib import Path
from typing import Any

import torch
from memory import GB, as_in_mid_run, recipe_of, step
from record import machine, record
from torch import Tensor, nn
from true_session import Parts, open_true

from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.loop import train_step

FAMILY = "sd15"
CASES = {
    "expression, 1 row": ("expression", "batch=1", "gradient_checkpointing=false"),
    "expression, 1 row, checkpointing": ("expression", "batch=1", "gradient_checkpointing=true"),
    "ica, 2 rows, checkpointing": ("ica", "batch=2", "gradient_checkpointing=true"),
    "feedback, 2 rows, checkpointing": ("feedback", "batch=2", "gradient_checkpointing=true"),
}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Of `malloc.h`."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="memory_check", help="name of the result file")
    options = parser.parse_args()
    give_back_at_once()
    figures: dict[str, Any] = {"family": FAMILY, "dtype": "float32", "pixels": 512, "cases": {}}
    for name, (stage, *overrides) in CASES.items():
        config = recipe_of(FAMILY, stage, *overrides, "accumulate=1")
        computed = step(FAMILY, config, torch.float32, card=False)[1]
        found = {"computed_gigabytes": computed / GB, "measured_gigabytes": measured(config) / GB}
        found["measured_over_computed"] = found["measured_gigabytes"] / found["computed_gigabytes"]
        figures["cases"][name] = {what: round(value, 3) for what, value in found.items()}
        print(name, figures["cases"][name], flush=True)
    print(machine(), record(options.name, figures))


def measured(config: TrainingConfig) -> int:
    """Bytes of a real step at its highest, beyond those before it."""
    parts = Parts.of(FAMILY, dataclasses.replace(config, precision="fp32"), torch.float32, card=False)
    session = open_true(parts, config, noise)
    as_in_mid_run(session)
    gc.collect()
    before = resident()
    forget_highest()
    train_step(session)
    return highest() - before


def noise(like: Tensor) -> Tensor:
    """Small random weights; buffers are indices, or means and variances of a batch norm."""
    if not like.is_floating_point():
        return torch.arange(like.numel()).view(like.shape).to(like.dtype)
    if not isinstance(like, nn.Parameter):
        return torch.ones(like.shape)
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).normal_(std=0.02)


def give_back_at_once() -> None:
    """Let glibc give memory back to the system when it is freed."""
    libc = ctypes.CDLL("libc.so.6")
    for what, value in ((M_MMAP_THRESHOLD, 1 << 16), (M_MMAP_MAX, 10**7), (M_TRIM_THRESHOLD, 0)):
        libc.mallopt(what, value)


def resident() -> int:
    """Bytes of memory that the process holds now."""
    return _status("VmRSS")


def highest() -> int:
    """The most that it has held since `forget_highest`."""
    return _status("VmHWM")


def forget_highest() -> None:
    """Count the highest from here."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines: Any = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    main()
