"""Checkpoints of a run: adapter, average and optimiser in one safetensors file, whole or not at all."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from emoji_adapter.config import to_mapping
from emoji_adapter.errors import DataError, InputError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.training.config import TrainingConfig
from emoji_adapter.training.resumption import changed_settings
from emoji_adapter.training.weights import MovingAverage

FORMAT_VERSION = 1
KEY = "emoji_adapter.run"
"""The one key of the header; several would be written in random order."""
PATTERN = re.compile(r"step-(\d{8})\.safetensors$")


@dataclass
class RunState:
    """Everything that a run needs to go on.

    Attributes:
        adapter: trained and frozen branches.
        parameters: the trained ones by name.
        average: their moving average.
        optimizer: AdamW over the values of `parameters`, in order.
        step: optimiser steps done.
        steps: optimiser steps planned.
    """

    adapter: EmojiAdapter
    parameters: dict[str, nn.Parameter]
    average: MovingAverage
    optimizer: torch.optim.Optimizer
    step: int
    steps: int


def save_state(folder: Path, state: RunState, config: TrainingConfig) -> Path:
    """Write a checkpoint named by its step and remove the oldest beyond `config.keep`.

    Returns:
        Its path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "format_version": FORMAT_VERSION,
        "step": state.step,
        "steps": state.steps,
        "config": to_mapping(config),
    }
    path = folder / f"step-{state.step:08d}.safetensors"
    partial = path.with_suffix(".partial")
    save_file(_flatten(state), partial, {KEY: json.dumps(header)})
    os.replace(partial, path)
    for old in checkpoints(folder)[: -config.keep]:
        old.unlink()
    return path


def load_state(path: Path, state: RunState, config: TrainingConfig) -> None:
    """Continue from a checkpoint: `state` is changed in place.

    Raises:
        DataError: the file is damaged or of another format or adapter.
        InputError: a setting that decides the weights has changed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Delete it to go on from the one before.") from error
    if header.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {header.get('format_version')}, expected {FORMAT_VERSION}."
        )
    if changed := changed_settings(header["config"], config):
        raise InputError(
            f"The run in {path.parent.parent} began with other settings: {', '.join(changed)} differ. Resume "
            "it with the same settings, or choose another --out."
        )
    _restore(tensors, state)
    state.step, state.steps = header["step"], header["steps"]


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*.safetensors") if PATTERN.search(path.name))


def _flatten(state: RunState) -> dict[str, Tensor]:
    tensors = {f"adapter.{name}": tensor for name, tensor in state.adapter.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in state.average.average.items()}
    for name, parameter in state.parameters.items():
        for key, tensor in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = tensor
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def _restore(tensors: dict[str, Tensor], state: RunState) -> None:
    parts: dict[str, dict[str, Tensor]] = {"adapter": {}, "ema": {}, "optimizer": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition(".")
        parts[part][name] = tensor
    try:
        state.adapter.load_state_dict(parts["adapter"])
        state.average.load(parts["ema"])
    except (RuntimeError, KeyError) as error:
        raise DataError(f"The checkpoint is of another adapter: {error}") from error
    for key, tensor in parts["optimizer"].items():
        kind, _, name = key.partition(".")
        parameter = state.parameters[name]
        state.optimizer.state[parameter][kind] = tensor.to(parameter.device)
