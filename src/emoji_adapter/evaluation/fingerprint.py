"""Fingerprints of what a drawing depends on: two drawings of one fingerprint are the same pictures."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from emoji_adapter.data.latents import weights_hash
from emoji_adapter.metrics.records import Cell
from emoji_adapter.models.adapter import EmojiAdapter, is_adapter_parameter
from emoji_adapter.models.saving import written

FORGOTTEN = ("recipe", "licence", "commit")
"""Parts of an adapter's configuration that no picture depends on."""


def digest(parts: Any) -> str:
    """Hash of plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def of_cells(cells: Sequence[Cell], pictures: Iterable[Image]) -> str:
    """Hash of what is asked: words, noise and truth of the cells, and their pictures."""
    found = hashlib.sha256()
    for cell in cells:
        plain = {name: value for name, value in vars(cell).items() if not hasattr(value, "tobytes")}
        found.update(json.dumps(plain, sort_keys=True).encode())
        found.update(b"" if cell.blendshapes is None else cell.blendshapes.tobytes())
    for picture in pictures:
        found.update(picture.tobytes())
    return found.hexdigest()[:32]


def of_tensors(tensors: Iterable[Tensor]) -> str:
    """Hash of values, bit by bit."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def of_checkpoint(pipe: Any) -> str:
    """Hash of a pipeline's frozen networks, its sampler, and its number format where that is not float32."""
    networks = [weights_hash(part) for part in (pipe.unet, pipe.vae, pipe.text_encoder)]
    sampler = {name: str(value) for name, value in pipe.scheduler.config.items()}
    rounding = [] if pipe.unet.dtype == torch.float32 else [str(pipe.unet.dtype)]
    return digest([*networks, type(pipe.scheduler).__name__, sampler, *rounding])


def of_branches(adapter: EmojiAdapter, branches: Sequence[str]) -> str:
    """Hash of some branches of an adapter."""
    config = {
        name: value
        for name, value in written(adapter.config).items()
        if name not in FORGOTTEN and not name.startswith("_")
    }
    weights = {
        name: tensor.to(torch.float16)
        for name, tensor in sorted(adapter.state_dict().items())
        if any(is_adapter_parameter(name, branch) for branch in branches)
    }
    if "expression" not in branches:
        config = {name: value for name, value in config.items() if "expression" not in name}
    return digest([config, list(weights), of_tensors(weights.values())])


def of_file(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
