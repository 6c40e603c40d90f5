"""From a name ("micro", a folder, a file, a Hub id) to where the weights lie."""

import re
from pathlib import Path
from typing import Any

from emoji_adapter.config import packaged_part
from emoji_adapter.errors import AdapterFormatError, WeightsNotFoundError
from emoji_adapter.hub.download import fetch

MICRO = "micro"
"""The name of the embedded default."""

WEIGHT_NAME = "diffusion_pytorch_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CONVERSION = (
    "from torch import load; from safetensors.torch import save_file; "
    "w = load('{}', map_location='cpu', weights_only=True); "
    "save_file({{g + '.' + k: v.contiguous() for g, p in w.items() for k, v in p.items()}}, '{}')"
)
"""Python that turns a pickle of an IP-Adapter into safetensors, for error messages; never run by us."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def locate(name: str | Path, part: str) -> str:
    """Where a part of the micro-world, or somebody's own folder or Hub repository, lies.

    Args:
        name: "micro", a folder or a Hub id.
        part: which part of the micro weights "micro" means here: "checkpoint", "adapter", "faces", ...

    Returns:
        A path, or the Hub id as it is.

    Raises:
        WeightsNotFoundError: the part is not packaged, or the name is neither a path nor a Hub id.
    """
    if str(name) == MICRO:
        return str(packaged_part(part))
    if Path(name).exists() or _is_hub_id(name):
        return str(name)
    raise _not_found(name)


def adapter_file(
    name: str | Path,
    *,
    subfolder: str | None = None,
    weight_name: str | None = None,
    **hub: Any,
) -> Path:
    """The weight file of an adapter, fetched from the Hub when it is not here.

    Args:
        name: "micro", a folder, a `.safetensors` file or a Hub id.
        subfolder: folder inside the folder or the repository.
        weight_name: file name, `diffusion_pytorch_model.safetensors` unless told.
        **hub: revision, token, cache_dir, local_files_only, force_download, of `hf_hub_download`.

    Raises:
        WeightsNotFoundError: nothing is there.
        HubError: the Hub refuses the token, or the download broke off.
        AdapterFormatError: only a pickle is there, or the file is no safetensors file.
    """
    _refuse_other_formats(weight_name or WEIGHT_NAME)
    path = packaged_part("adapter") if str(name) == MICRO else Path(name)
    if path.is_file():
        _refuse_other_formats(path.name)
        return path
    if path.is_dir():
        return _in_folder(path / (subfolder or ""), weight_name or WEIGHT_NAME)
    if path.suffix in (*PICKLES, ".safetensors") or not _is_hub_id(name):
        raise _not_found(name)
    return fetch(str(name), weight_name or WEIGHT_NAME, subfolder=subfolder, **hub)


def _in_folder(folder: Path, weight_name: str) -> Path:
    if (folder / weight_name).is_file():
        return folder / weight_name
    there = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    for file in there:
        _refuse_pickle(file)
    raise WeightsNotFoundError(
        f"{folder} holds no {weight_name}; found {', '.join(there) or 'nothing'}. Name the folder that "
        "`save_pretrained` wrote, or pass subfolder= or weight_name=."
    )


def _is_hub_id(name: str | Path) -> bool:
    return _HUB_ID.fullmatch(str(name)) is not None and not str(name).startswith(".")


def _refuse_other_formats(file: str) -> None:
    _refuse_pickle(file)
    if not file.endswith(".safetensors"):
        raise AdapterFormatError(f"{file} is not a safetensors file. Adapters are `{WEIGHT_NAME}`.")


def _refuse_pickle(file: str) -> None:
    if file.endswith(PICKLES):
        safe = file.rpartition(".")[0] + ".safetensors"
        raise AdapterFormatError(
            f"{file} is a pickle, which can run code when it is read; expected safetensors. An adapter of "
            "ours is saved again with `save_pretrained`. An IP-Adapter file is converted elsewhere, in a "
            "container or on a machine that holds nothing of value: "
            f'python -c "{_CONVERSION.format(file, safe)}"'
        )


def _not_found(name: str | Path) -> WeightsNotFoundError:
    return WeightsNotFoundError(
        f"{str(name)!r} is neither 'micro', nor a path that exists, nor a Hub id of the form owner/name. "
        "Check the spelling and the working directory."
    )
