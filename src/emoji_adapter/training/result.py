"""What a run leaves: the averaged weights as an adapter of float16, and a record of how they came about."""

import copy
import json
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

from emoji_adapter.checkpoints.format import save_adapter
from emoji_adapter.config import to_mapping
from emoji_adapter.data.manifest import write_whole
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.training.session import Session

RECORD = "training.json"


def save_result(session: Session, folder: Path) -> None:
    """Save the averaged weights as float16 and `training.json` beside them.

    Args:
        session: a run that has done its steps.
        folder: of the adapter.
    """
    adapter = copy.deepcopy(session.state.adapter)
    session.state.average.copy_to(adapter)
    record = training_record(session)
    describe(adapter, record)
    save_adapter(adapter, folder, torch.float16)
    write_whole(folder / RECORD, json.dumps(record, indent=2) + "\n")


def training_record(session: Session) -> dict[str, object]:
    """Return how the weights of a run came about."""
    config = session.config
    device = session.device
    return {
        "recipe": config.recipe,
        "stage": config.stage,
        "seed": config.seed,
        "steps": session.state.step,
        "batch": config.batch * config.accumulate * session.accelerator.num_processes,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": source_commit(),
        "version": version("emoji_adapter"),
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "identity_encoder": session.data.meta.identity_encoder,
        "expression_encoder": session.models.expression_encoder.id,
        "expression_crop": session.models.expression_encoder.crop.to_dict(),
        "data": to_mapping(session.data.meta),
        "config": to_mapping(config),
    }


def describe(adapter: EmojiAdapter, record: dict[str, object]) -> None:
    """Put what a user should know of the training into the adapter's own metadata."""
    summary = "{recipe} (seed {seed}, {steps} steps of {batch}, {date})".format(**record)
    before = adapter.config["recipe"]
    adapter.register_to_config(
        recipe=f"{before}; {summary}" if before else summary,
        commit=record["commit"],
        expression_encoder=record["expression_encoder"],
    )


def source_commit() -> str:
    """Commit of the source tree that is running; empty outside a git checkout."""
    folder = Path(__file__).parent
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
