"""Shards: tensors and records of some pictures in one safetensors file, written whole or not at all."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from emoji_adapter.config import from_mapping
from emoji_adapter.data.manifest import PictureRecord, Refusal
from emoji_adapter.errors import DataError

KEY = "emoji_adapter.shard"
"""The one key of the header; several would be written in random order, never twice the same bytes."""
TENSORS = ("latents", "identity", "crops", "blendshapes")
SECOND = "second_identity"
"""The tensor that only sets with a second recogniser have."""


@dataclass(frozen=True)
class Shard:
    """Rows of a prepared set.

    Attributes:
        latents: float16 [N, C, h, w], already times the autoencoder's scaling factor.
        identity: float16 [N, 512], L2-normalised.
        crops: uint8 [N, S, S, 3] RGB, aligned and masked template crops.
        blendshapes: float16 [N, 52] in [0, 1], ARKit order.
        records: one per row.
        refusals: pictures of this shard's share of the source that were refused.
        digest: what the shard was made from; a shard of another digest is made again.
        second_identity: as `identity`, by the second recogniser of the set, or None.
    """

    latents: Tensor
    identity: Tensor
    crops: Tensor
    blendshapes: Tensor
    records: list[PictureRecord]
    refusals: list[Refusal]
    digest: str
    second_identity: Tensor | None = None


def shard_path(folder: Path, index: int) -> Path:
    """Path of shard number `index`."""
    return folder / f"shard-{index:05d}.safetensors"


def write_shard(folder: Path, index: int, shard: Shard) -> None:
    """Write a shard; a process killed at any moment leaves either the whole shard or none."""
    header = {
        "digest": shard.digest,
        "records": [asdict(record) for record in shard.records],
        "refusals": [asdict(refusal) for refusal in shard.refusals],
    }
    path = shard_path(folder, index)
    partial = path.with_suffix(".partial")
    tensors = {name: getattr(shard, name).contiguous() for name in TENSORS}
    if shard.second_identity is not None:
        tensors[SECOND] = shard.second_identity.contiguous()
    save_file(tensors, partial, {KEY: json.dumps(header)})
    os.replace(partial, path)


def shard_digest(path: Path) -> str | None:
    """Digest of a shard on disk; None where there is none or it cannot be read."""
    try:
        return _header(path).get("digest")
    except DataError:
        return None


def read_records(path: Path) -> tuple[list[PictureRecord], list[Refusal]]:
    """Read a shard's records without its tensors.

    Raises:
        DataError: the shard is missing or damaged.
    """
    header = _header(path)
    records = [from_mapping(PictureRecord, item) for item in header["records"]]
    refusals = [from_mapping(Refusal, item) for item in header["refusals"]]
    return records, refusals


def read_tensors(path: Path, second: bool = False) -> dict[str, Tensor]:
    """Read a shard's tensors.

    Args:
        path: of the shard.
        second: whether it must hold embeddings of a second recogniser, which are read then.

    Raises:
        DataError: the shard is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in (*TENSORS, *([SECOND] if second else []))}
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} is missing or damaged: {error}. Run `emoji-adapter prepare` again."
        ) from error


def empty_tensors(
    latent_shape: tuple[int, int, int], crop_size: int, second: bool = False
) -> dict[str, Tensor]:
    """Tensors of a shard none of whose pictures could be used."""
    added = {SECOND: torch.zeros(0, 512, dtype=torch.float16)} if second else {}
    return added | {
        "latents": torch.zeros(0, *latent_shape, dtype=torch.float16),
        "identity": torch.zeros(0, 512, dtype=torch.float16),
        "crops": torch.zeros(0, crop_size, crop_size, 3, dtype=torch.uint8),
        "blendshapes": torch.zeros(0, 52, dtype=torch.float16),
    }


def _header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})[KEY])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is missing or damaged: {error}. Run `emoji-adapter prepare` again."
        ) from error
