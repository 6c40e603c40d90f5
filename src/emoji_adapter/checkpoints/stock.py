"""An adapter as two stock IP-Adapters, for `load_ip_adapter` of an unmodified diffusers pipeline.

The identity branch takes the layout of IP-Adapter-FaceID, the expression branch that of IP-Adapter Plus.
diffusers guesses sizes from the tensors (a hidden layer that is a multiple of the input, heads of 64, four
layers of which the feed-forward part is four times as wide): what is smaller is padded with zeros, which
changes nothing that is computed. Blendshapes have no place there.
"""

from collections.abc import Mapping

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.keys_values import LayerProjections
from emoji_adapter.models.layers import cross_attention_layers

HEAD_DIM, DEPTH, MULT = 64, 4, 4
"""Sizes of IP-Adapter Plus that `load_ip_adapter` takes for granted."""

StockWeights = dict[str, dict[str, Tensor]]
"""`image_proj` and `ip_adapter`, as an IP-Adapter file has them."""


@torch.no_grad()
def stock_ip_adapters(adapter: EmojiAdapter, unet: UNet2DConditionModel) -> list[StockWeights]:
    """Weights of both branches for `load_ip_adapter`, identity first.

    Identity embeddings of length 1 `[rows, 1, 512]` and patch features `[rows, 1, patches, dim]` go in as
    `ip_adapter_image_embeds`. The terms of the rows that are given are those of our own pipeline; the stock
    pipeline gives the negative rows of guidance a term too, that of embeddings of zeros.

    Args:
        adapter: what to write; layers in which a branch does not act get values of zero.
        unet: whose layers are meant.

    Raises:
        AdapterMismatchError: the expression resampler is larger than diffusers takes for granted.
    """
    layers = cross_attention_layers(unet)
    width = adapter.config["cross_attention_dim"]
    return [
        {
            "image_proj": _face_id(adapter),
            "ip_adapter": _keys_values(adapter.to_k_identity, adapter.to_v_identity, layers, width),
        },
        {
            "image_proj": _plus(adapter),
            "ip_adapter": _keys_values(adapter.to_k_expression, adapter.to_v_expression, layers, width),
        },
    ]


def _face_id(adapter: EmojiAdapter) -> dict[str, Tensor]:
    """The identity projection; the scaling of embeddings to unit variance is folded into its first layer."""
    weights = dict(adapter.identity_projection.state_dict())
    width, dim = weights["proj.0.weight"].shape
    wide = -(-width // dim) * dim
    weights["proj.0.weight"] = _padded(weights["proj.0.weight"] * dim**0.5, wide, dim)
    weights["proj.0.bias"] = _padded(weights["proj.0.bias"], wide)
    weights["proj.2.weight"] = _padded(weights["proj.2.weight"], len(weights["proj.2.weight"]), wide)
    return weights


def _plus(adapter: EmojiAdapter) -> dict[str, Tensor]:
    """The expression resampler."""
    config, weights = adapter.config, dict(adapter.expression_resampler.state_dict())
    width, heads = config["resampler_width"], config["resampler_heads"]
    sizes = (width // heads, config["resampler_depth"], config["resampler_mult"])
    if any(size > limit for size, limit in zip(sizes, (HEAD_DIM, DEPTH, MULT), strict=True)):
        raise AdapterMismatchError(
            f"The expression resampler has heads of {sizes[0]}, {sizes[1]} layers and a feed-forward "
            f"width of {sizes[2]} times its own; a stock IP-Adapter Plus has at most {HEAD_DIM}, {DEPTH} "
            f"and {MULT}. Train an adapter of these sizes to export it."
        )
    for layer in range(DEPTH):
        name = f"layers.{layer}"
        if layer < config["resampler_depth"]:
            _widen(weights, name, width, heads)
        else:
            weights |= _idle(name, width, heads, weights["latents"])
    return weights


def _widen(weights: dict[str, Tensor], layer: str, width: int, heads: int) -> None:
    """Bring heads to 64 and the feed-forward part to four times the width."""
    narrow = width // heads
    attention, forward = f"{layer}.0", f"{layer}.1"
    # The stock scale is 1 / sqrt(64), ours 1 / sqrt(narrow).
    query = weights[f"{attention}.to_q.weight"] * (HEAD_DIM / narrow) ** 0.5
    weights[f"{attention}.to_q.weight"] = _wide_heads(query, heads)
    weights[f"{attention}.to_kv.weight"] = _wide_heads(weights[f"{attention}.to_kv.weight"], 2 * heads)
    out = weights[f"{attention}.to_out.weight"]
    weights[f"{attention}.to_out.weight"] = _wide_heads(out.T, heads).T.contiguous()
    weights[f"{forward}.1.weight"] = _padded(weights[f"{forward}.1.weight"], MULT * width, width)
    weights[f"{forward}.3.weight"] = _padded(weights[f"{forward}.3.weight"], width, MULT * width)


def _idle(layer: str, width: int, heads: int, like: Tensor) -> dict[str, Tensor]:
    """A layer that adds nothing to its input."""
    inner = heads * HEAD_DIM
    shapes = {
        "0.norm1.weight": (width,), "0.norm1.bias": (width,), "0.norm2.weight": (width,),
        "0.norm2.bias": (width,), "0.to_q.weight": (inner, width), "0.to_kv.weight": (2 * inner, width),
        "0.to_out.weight": (width, inner), "1.0.weight": (width,), "1.0.bias": (width,),
        "1.1.weight": (MULT * width, width), "1.3.weight": (width, MULT * width),
    }  # fmt: skip
    return {f"{layer}.{name}": like.new_zeros(shape) for name, shape in shapes.items()}


def _keys_values(
    to_k: LayerProjections, to_v: LayerProjections, layers: Mapping[str, int], width: int
) -> dict[str, Tensor]:
    """Matrices of all layers under the odd numbers that IP-Adapter files give them."""
    made = {}
    for place, (layer, dim) in enumerate(layers.items()):
        for name, projections in (("k", to_k), ("v", to_v)):
            acts = layer in projections.dims
            matrix = projections[layer].matrix() if acts else torch.zeros(dim, width)
            made[f"{2 * place + 1}.to_{name}_ip.weight"] = matrix.contiguous()
    return made


def _wide_heads(matrix: Tensor, heads: int) -> Tensor:
    """Pad the rows of each head to 64."""
    split = matrix.unflatten(0, (heads, -1))
    return _padded(split, heads, HEAD_DIM, matrix.shape[1]).flatten(0, 1)


def _padded(tensor: Tensor, *shape: int) -> Tensor:
    """The tensor in the corner of one of zeros."""
    made = tensor.new_zeros(shape)
    made[tuple(slice(size) for size in tensor.shape)] = tensor
    return made
