"""IP-Adapter files as branches of an adapter: h94's FaceID and FaceID-Plus, Arc2Face's expression adapter.

The weights are renamed by the tables of `key_maps` and nothing else: `stock.stock_branches` gives back the
same ones. What such a file does not say (its encoders, how its inputs are scaled, what its negative rows saw
in training) is true of all files of the kind and is written into the adapter's configuration here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from emoji_adapter.checkpoints.format import check_weights
from emoji_adapter.checkpoints.key_maps import (
    BLOCKS,
    MARKER,
    PROJECTIONS,
    attention_layers,
    key_map,
    layers_of,
)
from emoji_adapter.errors import AdapterFormatError, AdapterMismatchError, InputError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.layers import base_family, cross_attention_layers, describe_family
from emoji_adapter.models.saving import METADATA_KEY

CODES = {52: "arkit", 55: "flame"}
"""Length of an expression code -> what its numbers mean."""

EMBEDDING = 512
"""Length of a recogniser's embedding, by which an identity file is told."""

UNNORMALISED = "unnorm"
"""In the name of h94's files that read embeddings as the recogniser gives them; their keys do not tell."""

_GROUPS = ("image_proj.", "ip_adapter.")
_ENCODERS = {
    "identity_encoder": "buffalo_l",
    "identity_features_encoder": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
}
"""What h94's files were trained with (the model card of h94/IP-Adapter-FaceID)."""


@dataclass(frozen=True)
class IPAdapterFile:
    """The weights of one file, by their full keys.

    Attributes:
        weights: key -> tensor.
        name: for messages.
    """

    weights: Mapping[str, Tensor]
    name: str = "the IP-Adapter"

    @classmethod
    def read(cls, path: str | Path) -> "IPAdapterFile":
        """Read a safetensors file."""
        try:
            return cls(load_file(path), str(path))
        except (SafetensorError, OSError) as error:
            raise AdapterFormatError(f"{path} is damaged or cut short ({error}). Fetch it again.") from error

    @property
    def kind(self) -> str:
        """Its kind, by the exact names of its projection.

        Raises:
            AdapterFormatError: none that can be a branch.
        """
        names = {key.removeprefix("image_proj.") for key in self.weights if key.startswith("image_proj.")}
        for kind, wanted in PROJECTIONS.items():
            if names == set(wanted):
                return kind
        raise AdapterFormatError(
            f"{self.name} is an IP-Adapter of a kind that cannot become a branch: its projection has "
            f"{len(names)} weights ({', '.join(sorted(names)[:3])}, ...). Expected the layout of "
            f"{' or '.join(PROJECTIONS)}; load others with load_ip_adapter of the stock pipeline."
        )

    @property
    def branch(self) -> str:
        """The branch it makes, by the length of its input.

        Raises:
            AdapterFormatError: neither of the known lengths.
        """
        length = self.projection("proj.0.weight").shape[1]
        if length == EMBEDDING:
            return "identity"
        if length in CODES:
            return "expression"
        raise AdapterFormatError(
            f"{self.name} reads {length} numbers; expected {EMBEDDING} (an identity embedding) or "
            f"{' or '.join(map(str, CODES))} (an expression code). Name the branch if it is one: "
            "{'identity': file} or {'expression': file}."
        )

    @property
    def layers(self) -> int:
        """Number of cross-attention layers."""
        return sum(key.endswith(".to_k_ip.weight") for key in self.weights)

    @property
    def width(self) -> int:
        """Width of the text features of the U-Net that it is for."""
        return self._at("ip_adapter.1.to_k_ip.weight").shape[1]

    @property
    def lora_rank(self) -> int | None:
        """Rank of its LoRA; None without one (a marker for ComfyUI alone is none)."""
        found = {key for key in self.weights if "_lora." in key} - {f"ip_adapter.{MARKER}"}
        return self._at("ip_adapter.0.to_k_lora.down.weight").shape[0] if found else None

    def projection(self, name: str) -> Tensor:
        """A weight of the projection."""
        return self._at(f"image_proj.{name}")

    def _at(self, key: str) -> Tensor:
        try:
            return self.weights[key]
        except KeyError:
            raise AdapterFormatError(f"{self.name} has no weight {key}. Fetch the file again.") from None


def is_ip_adapter(file: Path) -> bool:
    """Whether a safetensors file has the layout of an IP-Adapter and is no adapter of ours."""
    try:
        with safe_open(file, framework="pt") as opened:
            ours = METADATA_KEY in (opened.metadata() or {})
            return not ours and any(key.startswith(_GROUPS) for key in opened.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return False


def from_ip_adapters(
    *,
    identity: IPAdapterFile | None = None,
    expression: IPAdapterFile | None = None,
    unet: UNet2DConditionModel | None = None,
    shortcut: bool | None = None,
) -> EmojiAdapter:
    """One adapter whose branches are IP-Adapter files; a branch that is not given is absent.

    Args:
        identity: FaceID or FaceID-Plus.
        expression: in the layout of FaceID, reading an expression code (Arc2Face: 55 numbers of FLAME).
        unet: what it is for; else the U-Net of SD1.5, SD2 or SDXL, by the width of the weights.
        shortcut: for FaceID-Plus, and only there: whether it is PlusV2. The files do not tell.

    Returns:
        An adapter that shares the tensors of the files, in their number format.

    Raises:
        AdapterFormatError: unknown, missing or misshapen weights; or an identity file that reads embeddings
            which are not normalised, as its name tells.
        AdapterMismatchError: another family than the U-Net's, or than the other file's.
        InputError: `shortcut` is missing, or means nothing.
    """
    files = {"identity": identity, "expression": expression}
    given = {branch: file for branch, file in files.items() if file is not None}
    if not given:
        raise InputError("Nothing to convert: give an identity file, an expression file or both.")
    dims, config = _base(given.values(), unet)
    config |= {"identity_dim": None, "expression_dim": None, "blendshapes": None, "layer_dims": dims}
    config |= {f"{branch}_layers": list(dims) for branch in given} | {"licence": "as of the imported files"}
    config["recipe"] = ", ".join(f"{branch}: imported {file.kind}" for branch, file in given.items())
    if identity is not None:
        config |= _identity(identity, list(dims), shortcut)
    elif shortcut is not None:
        raise InputError("shortcut says whether a FaceID-Plus file is PlusV2; no such file is given.")
    if expression is not None:
        config |= _expression(expression)
    with torch.device("meta"):
        adapter = EmojiAdapter(**config).eval()
    weights: dict[str, Tensor] = {}
    for branch, file in given.items():
        weights |= _renamed(file, branch, list(dims))
    check_weights(weights, adapter, " and ".join(file.name for file in given.values()))
    adapter.load_state_dict(weights, assign=True)
    return adapter


def _base(
    files: Iterable[IPAdapterFile], unet: UNet2DConditionModel | None
) -> tuple[dict[str, int], dict[str, Any]]:
    """Layers of the U-Net that the files are for, and what an adapter says of it."""
    if unet is None:
        (family, width), dims = _known_base(next(iter(files)))
    else:
        family, width = base_family(unet), unet.config["cross_attention_dim"]
        dims = cross_attention_layers(unet)
    for file in files:
        if (file.width, file.layers) != (width, len(dims)):
            names = {w: f for f, w in BLOCKS}
            made_for = describe_family(names.get(file.width, "other"), file.width)
            raise AdapterMismatchError(
                f"{file.name} is for {made_for} with {file.layers} cross-attention layers; "
                f"{'the other file' if unet is None else 'the U-Net'} is {describe_family(family, width)} "
                f"with {len(dims)}. Use files and a checkpoint of one family."
            )
    return dims, {"base_family": family, "cross_attention_dim": width}


def _known_base(file: IPAdapterFile) -> tuple[tuple[str, int], dict[str, int]]:
    for base, blocks in BLOCKS.items():
        dims = layers_of(blocks)
        if (file.width, file.layers) == (base[1], len(dims)):
            return base, dims
    raise AdapterMismatchError(
        f"{file.name} has {file.layers} cross-attention layers for text features of width {file.width}: not "
        "those of SD1.5, SD2 or SDXL. Name the checkpoint that it is for."
    )


def _identity(file: IPAdapterFile, layers: list[str], shortcut: bool | None) -> dict[str, Any]:
    if UNNORMALISED in Path(file.name).name.lower():
        raise AdapterFormatError(
            f"{file.name} reads, by its name, recogniser embeddings that are not normalised; the pipeline "
            "gives them unit length, of which it would make another face. Use a file without "
            f"{UNNORMALISED!r} in its name, such as ip-adapter-faceid-portrait."
        )
    plus = file.kind == "FaceID-Plus"
    if plus == (shortcut is None):
        raise InputError(
            f"{file.name} is FaceID-Plus or FaceID-PlusV2, whose files have the same keys. Say which: "
            "shortcut=True (emoji-adapter convert --shortcut) for PlusV2, False (--no-shortcut) for Plus."
            if plus
            else f"{file.name} is {file.kind}: shortcut is for FaceID-Plus files. Leave it out."
        )
    width, dim = file.projection("proj.0.weight").shape
    config = {
        "identity_dim": dim,
        "identity_width": width,
        "identity_tokens": len(file.projection("proj.2.weight")) // len(file.projection("norm.weight")),
        "identity_input": "unit_length",
        "identity_negative": "zeros",
        "identity_encoder": _ENCODERS["identity_encoder"],
    }
    if file.lora_rank is not None:
        config |= {
            "identity_lora_rank": file.lora_rank,
            "identity_lora_layers": attention_layers(layers),
        }
    if plus:
        config |= {
            "identity_features_dim": file.projection("perceiver_resampler.proj_in.weight").shape[1],
            "identity_features_encoder": _ENCODERS["identity_features_encoder"],
            "identity_shortcut": shortcut,
        }
    return config


def _expression(file: IPAdapterFile) -> dict[str, Any]:
    width, dim = file.projection("proj.0.weight").shape
    if file.kind != "FaceID" or file.lora_rank is not None or dim not in CODES:
        raise AdapterFormatError(
            f"{file.name} cannot become an expression branch: it is {file.kind}, reads {dim} numbers and has "
            f"{'a' if file.lora_rank else 'no'} LoRA. Expected the layout of FaceID without LoRA, reading "
            f"{' or '.join(map(str, CODES))} numbers, such as Arc2Face's expression adapter."
        )
    return {
        "blendshapes": dim,
        "blendshape_set": CODES[dim],
        "blendshape_width": width,
        "expression_tokens": len(file.projection("proj.2.weight")) // len(file.projection("norm.weight")),
        "expression_negative": "zeros",
    }


def _renamed(file: IPAdapterFile, branch: str, layers: list[str]) -> dict[str, Tensor]:
    lora = file.lora_rank is not None
    keys = key_map(branch, file.kind, layers, lora=lora)
    ignored = set() if lora else {f"ip_adapter.{MARKER}"}
    found = file.weights.keys() - ignored
    if found != keys.keys():
        unknown, missing = sorted(found - keys.keys()), sorted(keys.keys() - found)
        raise AdapterFormatError(
            f"{file.name} is no whole {file.kind} file: {len(unknown)} unknown weights "
            f"({', '.join(unknown[:3])}), {len(missing)} missing ({', '.join(missing[:3])}). Fetch it again."
        )
    return {keys[name]: file.weights[name] for name in found}
