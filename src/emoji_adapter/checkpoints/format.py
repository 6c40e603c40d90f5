"""The adapter on disk: a safetensors file that says what it is, and `config.json` beside it.

The header of the weight file holds the whole configuration, so that one file is enough. It is checked before
any weight is read, and before the U-Net is touched.
"""

import copy
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from emoji_adapter.checkpoints.locate import adapter_file
from emoji_adapter.errors import AdapterFormatError, AdapterMismatchError
from emoji_adapter.models.adapter import FORMAT_VERSION, EmojiAdapter, is_adapter_parameter
from emoji_adapter.models.layers import base_family, cross_attention_layers, describe_family
from emoji_adapter.models.saving import METADATA_KEY

_DAMAGED = "is damaged or cut short"

_ADDED = {
    2: {
        "identity_input", "identity_features_dim", "identity_features_encoder", "identity_shortcut",
        "identity_negative", "identity_lora_rank", "identity_lora_layers", "expression_negative",
        "blendshape_set",
    },
    3: {"expression_teacher"},
    4: {"second_recogniser"},
}  # fmt: skip
"""Settings that a format version added; in files of an earlier one they have their defaults.

A file that uses nothing of version 4 is written as one of version 3, see `models.saving.written`.
"""


def save_adapter(adapter: EmojiAdapter, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """Writes an adapter to a folder; nothing is ever half-written.

    Args:
        adapter: what to write.
        folder: made if missing; other files in it stay.
        dtype: number format of the file, e.g. `torch.float16`; that of the adapter unless told.
    """
    if dtype is not None:
        adapter = copy.deepcopy(adapter)
        torch.nn.Module.to(adapter, dtype)
    adapter.save_pretrained(folder)


def load_adapter(
    name: str | Path,
    *,
    unet: UNet2DConditionModel | None = None,
    dtype: torch.dtype = torch.float32,
    **where: Any,
) -> EmojiAdapter:
    """Reads an adapter.

    Args:
        name: "micro", a folder, a `.safetensors` file or a Hub id.
        unet: if given, it is checked, before any weight is read, that the adapter fits it.
        dtype: number format in memory, whatever that of the file.
        **where: subfolder, weight_name, revision, token, cache_dir, ...: see `adapter_file`.

    Raises:
        WeightsNotFoundError: nothing is there.
        HubError: the Hub refuses the token, or the download broke off.
        AdapterFormatError: not an adapter, damaged, of a later format, or with unknown or missing weights.
        AdapterMismatchError: it does not fit `unet`.
    """
    file = adapter_file(name, **where)
    config = read_metadata(file)
    if unet is not None:
        check_fits(config, unet)
    adapter = EmojiAdapter(**config).eval()
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise AdapterFormatError(f"{file} {_DAMAGED} ({error}). Fetch or save it again.") from error
    check_weights(weights, adapter, str(file))
    adapter.load_state_dict(weights)
    torch.nn.Module.to(adapter, dtype)
    return adapter


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The configuration of an adapter, from the header of its weight file alone.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        WeightsNotFoundError: nothing is there.
        AdapterFormatError: not an adapter, damaged, or of a later format.
    """
    file = adapter_file(path)
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
        config = json.loads(header[METADATA_KEY])
    except KeyError as error:
        raise AdapterFormatError(
            f"{file} is a safetensors file but not an emoji adapter: its header has no {METADATA_KEY!r}. An "
            "adapter is what `EmojiAdapter.save_pretrained` writes."
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterFormatError(f"{file} {_DAMAGED} ({error}). Fetch or save it again.") from error
    _check_config(config, file)
    return _settings() | config | {"format_version": FORMAT_VERSION}


def check_fits(config: Mapping[str, Any], unet: UNet2DConditionModel) -> None:
    """Refuses an adapter that was made for another kind of U-Net; changes nothing.

    Args:
        config: configuration of the adapter (`adapter.config` or `read_metadata(...)`).
        unet: a `UNet2DConditionModel`.

    Raises:
        AdapterMismatchError: another family, cross-attention width, or other layers.
    """
    made_for = (config["base_family"], config["cross_attention_dim"])
    given = (base_family(unet), unet.config["cross_attention_dim"])
    if made_for != given:
        raise AdapterMismatchError(
            f"This adapter is for {describe_family(*made_for)}; the U-Net is {describe_family(*given)}. Use "
            "an adapter trained for this family, or load the checkpoint that the adapter is for."
        )
    layers = cross_attention_layers(unet)
    for name, dim in (config["layer_dims"] or {}).items():
        if layers.get(name) != dim:
            found = f"has width {layers[name]} there" if name in layers else "has no such layer"
            raise AdapterMismatchError(
                f"This adapter acts in layer {name!r} of width {dim}; the U-Net {found}. Use an adapter made "
                "for this U-Net."
            )


def _settings() -> dict[str, Any]:
    """All settings of an adapter, with their defaults."""
    parameters = inspect.signature(EmojiAdapter.__init__).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != "self"}


def _check_config(config: Any, file: Path) -> None:
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int):
        raise AdapterFormatError(f"{file} does not say its format_version. Save the adapter again.")
    if version > FORMAT_VERSION:
        raise AdapterFormatError(
            f"{file} has format version {version}; this emoji_adapter reads up to {FORMAT_VERSION}. Update "
            "the package: pip install -U emoji_adapter."
        )
    known = set(_settings())
    for later, settings in _ADDED.items():
        known -= settings if version < later else set()
    if config.keys() != known:
        unknown, missing = sorted(config.keys() - known), sorted(known - config.keys())
        raise AdapterFormatError(
            f"The configuration in {file} is not one of format {version}: unknown {unknown}, missing "
            f"{missing}."
        )
    _check_config_file(config, file.with_name("config.json"))


def _check_config_file(config: dict[str, Any], file: Path) -> None:
    """Somebody may have edited `config.json`, which the header then contradicts."""
    if not file.is_file():
        return
    try:
        beside = json.loads(file.read_text())
    except ValueError as error:
        raise AdapterFormatError(f"{file} {_DAMAGED} ({error}). Fetch or save it again.") from error
    differing = sorted(key for key in config if beside.get(key) != config[key])
    if differing:
        raise AdapterFormatError(
            f"{file} says otherwise than the header of the weight file beside it about "
            f"{', '.join(differing)}. Save the adapter again with `save_pretrained`, or remove config.json."
        )


def check_weights(weights: Mapping[str, torch.Tensor], adapter: EmojiAdapter, what: str) -> None:
    """Refuses weights that are not exactly those of an adapter.

    Args:
        weights: by the adapter's own names.
        adapter: what they are for.
        what: where they are from, for messages.

    Raises:
        AdapterFormatError: some are unknown, missing or of another shape.
    """
    wanted = {name: list(x.shape) for name, x in adapter.state_dict().items() if is_adapter_parameter(name)}
    found = {name: list(x.shape) for name, x in weights.items()}
    if found == wanted:
        return
    unknown, missing = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    other = [
        f"{name} {found[name]} instead of {wanted[name]}"
        for name in sorted(found.keys() & wanted.keys())
        if found[name] != wanted[name]
    ]
    parts = {"unknown weights": unknown, "missing weights": missing, "weights of another shape": other}
    listed = "; ".join(
        f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in parts.items() if names
    )
    raise AdapterFormatError(
        f"{what}: not the weights of the adapter that is described there: {listed}. Save or fetch it again."
    )
