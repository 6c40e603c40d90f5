"""An adapter as files that `load_ip_adapter` of a stock pipeline reads, one a branch.

The identity file is told as FaceID by ComfyUI's IPAdapter nodes too, which go by its keys and shapes: four
tokens and a key of a LoRA, or sixteen tokens without ("portrait"); PlusV2 by the file's name. They have no
input for an expression: that file is for stock diffusers.
"""

import os
import tempfile
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from emoji_adapter.checkpoints.key_maps import BLOCKS, MARKER, PROJECTIONS, layers_of
from emoji_adapter.checkpoints.stock import StockWeights, stock_branches
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.layers import cross_attention_layers

FEW_TOKENS, MANY_TOKENS = 4, 16
"""Numbers of tokens that ComfyUI's nodes know in FaceID files."""


def save_ip_adapters(
    adapter: EmojiAdapter,
    folder: str | Path,
    *,
    unet: UNet2DConditionModel | None = None,
    dtype: torch.dtype | None = None,
    features_only: bool = False,
) -> list[Path]:
    """Writes `identity.safetensors` and `expression.safetensors`, of the branches that there are.

    FaceID-PlusV2 is called `identity-plusv2.safetensors`: the files do not tell it otherwise.

    Args:
        adapter: what to write.
        folder: made if missing.
        unet: whose layers are meant; needed for other U-Nets than those of SD1.5, SD2 and SDXL.
        dtype: number format of the files; that of the adapter unless told.
        features_only: of a compound expression the part that stock code can read, see `stock_branches`.

    Returns:
        The files.

    Raises:
        InputError: the layers of the U-Net are not known.
        AdapterMismatchError: a stock IP-Adapter cannot hold the adapter.
    """
    layers = _known_layers(adapter) if unet is None else cross_attention_layers(unet)
    missing = [name for name in adapter.layers if name not in layers]
    if missing:
        raise AdapterMismatchError(
            f"The adapter acts in {missing[0]!r}, which the U-Net does not have. Name the checkpoint that it "
            "was made for."
        )
    branches = stock_branches(adapter, layers, features_only=features_only)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for branch, weights in branches.items():
        name = f"{branch}-plusv2" if branch == "identity" and adapter.config["identity_shortcut"] else branch
        if branch == "identity":
            weights = for_comfy(weights)
        written.append(folder / f"{name}.safetensors")
        _save(weights, written[-1], dtype)
    return written


def for_comfy(weights: StockWeights) -> StockWeights:
    """The same FaceID function in a form that ComfyUI's IPAdapter nodes recognise, where there is one.

    Four tokens get the key that marks a FaceID file. Other numbers that divide 16 are repeated to 16:
    attention to several copies of a token is attention to one. Other numbers stay: only diffusers reads them.
    """
    projection, attention = dict(weights["image_proj"]), dict(weights["ip_adapter"])
    tokens = len(projection["proj.2.weight"]) // len(projection["norm.weight"])
    if tokens == FEW_TOKENS:
        attention.setdefault(MARKER, attention["1.to_k_ip.weight"].new_zeros(1, 1))
    elif MANY_TOKENS % tokens == 0 and set(projection) == set(PROJECTIONS["FaceID"]):
        copies = MANY_TOKENS // tokens
        projection["proj.2.weight"] = projection["proj.2.weight"].repeat(copies, 1)
        projection["proj.2.bias"] = projection["proj.2.bias"].repeat(copies)
    return {"image_proj": projection, "ip_adapter": attention}


def _known_layers(adapter: EmojiAdapter) -> dict[str, int]:
    base = (adapter.config["base_family"], adapter.config["cross_attention_dim"])
    if base not in BLOCKS:
        raise InputError(
            f"The layers of the U-Net are not known: the adapter is for {base[0]!r} of width {base[1]}, "
            "neither SD1.5, SD2 nor SDXL. Name the checkpoint that it is for (unet=, or --checkpoint)."
        )
    return layers_of(BLOCKS[base])


def _save(weights: StockWeights, file: Path, dtype: torch.dtype | None) -> None:
    """Writes one file, whole or not at all."""
    flat: dict[str, Tensor] = {
        f"{group}.{name}": value.detach().to("cpu", dtype or value.dtype).contiguous()
        for group, part in weights.items()
        for name, value in part.items()
    }
    handle, partial = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(handle)
    try:
        save_file(flat, partial, {"format": "pt"})
        os.chmod(partial, 0o644)
        os.replace(partial, file)
    finally:
        Path(partial).unlink(missing_ok=True)
