"""Any adapter by its name: one of ours, or IP-Adapter files that become one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.checkpoints.ip_adapters import IPAdapterFile, from_ip_adapters, is_ip_adapter
from emoji_adapter.checkpoints.locate import adapter_file
from emoji_adapter.errors import InputError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.parts import BRANCHES

AdapterName = str | Path | Mapping[str, str | Path]
"""A name, or branch -> name of an IP-Adapter file."""


def open_adapter(
    name: AdapterName,
    *,
    unet: UNet2DConditionModel | None = None,
    dtype: torch.dtype | None = torch.float32,
    shortcut: bool | None = None,
    **where: Any,
) -> EmojiAdapter:
    """Reads an adapter of ours, or IP-Adapter files as one.

    Args:
        name: "micro", a folder, a `.safetensors` file or a Hub id; or `{"identity": ..., "expression": ...}`
            with an IP-Adapter file for each branch, or for one.
        unet: if given, it is checked, before any weight is used, that the adapter fits it.
        dtype: number format in memory; None: that of an IP-Adapter file, float32 for ours.
        shortcut: see `from_ip_adapters`.
        **where: subfolder, weight_name, revision, token, cache_dir, ...: see `adapter_file`; each may be a
            mapping branch -> value when `name` is one.

    Raises:
        WeightsNotFoundError: nothing is there.
        AdapterFormatError: of no known kind, damaged, or with unknown or missing weights.
        AdapterMismatchError: it does not fit `unet`.
        InputError: arguments that do not go together.
    """
    if isinstance(name, Mapping):
        files = _files_of_branches(name, where)
    else:
        file = adapter_file(name, **where)
        if not is_ip_adapter(file):
            if shortcut is not None:
                raise InputError(
                    f"shortcut is for IP-Adapter-FaceID-Plus files; {file} is none. Leave it out."
                )
            return load_adapter(file, unet=unet, dtype=dtype or torch.float32)
        opened = IPAdapterFile.read(file)
        files = {opened.branch: opened}
    adapter = from_ip_adapters(**files, unet=unet, shortcut=shortcut)
    if dtype is not None:
        torch.nn.Module.to(adapter, dtype)
    return adapter


def _files_of_branches(names: Mapping[str, str | Path], where: dict[str, Any]) -> dict[str, IPAdapterFile]:
    unknown = sorted(names.keys() - BRANCHES.keys())
    if unknown:
        raise InputError(f"There is no branch {unknown[0]!r}; expected {' or '.join(BRANCHES)}.")
    files = {}
    for branch, name in names.items():
        own = {key: value[branch] if isinstance(value, Mapping) else value for key, value in where.items()}
        files[branch] = IPAdapterFile.read(adapter_file(name, **own))
    return files
