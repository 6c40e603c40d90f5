"""One form for all results: `benchmarks/results/NAME.json` says what, when, where, with which code."""

import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "diffusers", "transformers", "insightface", "onnxruntime", "numpy")


def record(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes the figures of a benchmark with date, machine, commit and versions; returns the file."""
    entry = {
        "name": name,
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "commit": commit(),
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        "figures": figures,
    }
    folder.mkdir(parents=True, exist_ok=True)
    temporary, file = folder / f".{name}.{os.getpid()}", folder / f"{name}.json"
    temporary.write_text(json.dumps(entry, indent=2) + "\n")
    os.replace(temporary, file)
    return file


def machine() -> str:
    """The kind of machine, e.g. "x86_64, 2 cores, 2 threads, no GPU"."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}"


def commit() -> str:
    """The commit of the source tree, marked where it has changes."""
    return _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain", "src") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
