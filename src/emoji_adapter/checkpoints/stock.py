"""An adapter as two stock IP-Adapters, for `load_ip_adapter` of an unmodified diffusers pipeline.

The identity branch takes the layout of IP-Adapter-FaceID (or FaceID-Plus), the expression branch that of
IP-Adapter Plus, or of FaceID where it reads codes only; branches that were imported come out as they went in.
diffusers guesses sizes from the tensors (a hidden layer that is a multiple of the input, heads of 64, four
layers of which the feed-forward part is four times as wide): what is smaller is padded with zeros, which
changes nothing that is computed. A file has one projection: of an adapter that reads pictures or
blendshapes, that of pictures goes in; one that reads both at once (compound) is refused unless asked for.
"""

from collections.abc import Mapping

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from emoji_adapter.checkpoints.key_maps import LORA, attention_layers
from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.keys_values import LayerProjections
from emoji_adapter.models.layers import cross_attention_layers
from emoji_adapter.models.parts import require_part

HEAD_DIM, DEPTH, MULT = 64, 4, 4
"""Sizes of IP-Adapter Plus that `load_ip_adapter` takes for granted."""

StockWeights = dict[str, dict[str, Tensor]]
"""`image_proj` and `ip_adapter`, as an IP-Adapter file has them."""


@torch.no_grad()
def stock_ip_adapters(
    adapter: EmojiAdapter, unet: UNet2DConditionModel, *, features_only: bool = False
) -> list[StockWeights]:
    """Weights of the branches for `load_ip_adapter`, identity first.

    Identity embeddings of length 1 `[rows, 1, 512]` and patch features `[rows, 1, patches, dim]` (of an
    adapter that reads no pictures: expression codes `[rows, 1, numbers]`) go in as `ip_adapter_image_embeds`.
    The terms of the rows that are given are those of our own pipeline; the stock pipeline gives the negative
    rows of guidance a term too, that of embeddings of zeros, as ours does where `identity_negative` and
    `expression_negative` are "zeros".

    Args:
        adapter: what to write; layers in which a branch does not act get values of zero.
        unet: whose layers are meant.
        features_only: see `stock_branches`.

    Raises:
        AdapterMismatchError: see `stock_branches`.
    """
    return list(stock_branches(adapter, cross_attention_layers(unet), features_only=features_only).values())


@torch.no_grad()
def stock_branches(
    adapter: EmojiAdapter, layers: Mapping[str, int], *, features_only: bool = False
) -> dict[str, StockWeights]:
    """Branch -> weights of each branch that an adapter has; see `stock_ip_adapters`.

    Args:
        adapter: what to write; tensors that need no change are shared.
        layers: name and width of all cross-attention layers of the U-Net.
        features_only: of a compound expression (`expression_teacher`) write what reads the patch features,
            without the tokens of the teacher's code: another adapter, which follows less.

    Raises:
        AdapterMismatchError: a compound identity, a compound expression without `features_only`, or an
            expression resampler that is larger than diffusers takes for granted.
    """
    teacher = adapter.config["expression_teacher"]
    if teacher is not None and not features_only:
        raise AdapterMismatchError(
            "This adapter's expression is compound, of patch features and the code of a teacher "
            f"({teacher!r}); a stock IP-Adapter reads the features alone, and loses what the adapter learnt "
            "from the code. Pass features_only=True (--features-only) for that lesser adapter, or train one "
            "with compound_share 0 to export it whole."
        )
    if adapter.config["second_recogniser"] is not None:
        raise AdapterMismatchError(
            "This adapter's identity is compound, of two recognisers "
            f"({adapter.config['identity_encoder']!r} and {adapter.config['second_recogniser']!r}); a stock "
            "IP-Adapter reads one embedding. Train an adapter without second_recogniser to export it."
        )
    width, made = adapter.config["cross_attention_dim"], {}
    if adapter.identity_projection is not None:
        attention = _keys_values(adapter.to_k_identity, adapter.to_v_identity, layers, width)
        attention |= _lora(adapter, list(layers))
        made["identity"] = {"image_proj": _identity(adapter), "ip_adapter": attention}
    if adapter.expression_resampler is not None or adapter.blendshape_projection is not None:
        attention = _keys_values(adapter.to_k_expression, adapter.to_v_expression, layers, width)
        made["expression"] = {"image_proj": _expression(adapter), "ip_adapter": attention}
    return made


def _identity(adapter: EmojiAdapter) -> dict[str, Tensor]:
    """The identity projection; the scaling of embeddings to unit variance is folded into its first layer."""
    weights = dict(require_part(adapter.identity_projection, "identity").state_dict())
    if adapter.config["identity_input"] == "unit_variance":
        first = weights["proj.0.weight"]
        weights["proj.0.weight"] = first * first.shape[1] ** 0.5
    return _face_id(weights)


def _expression(adapter: EmojiAdapter) -> dict[str, Tensor]:
    """The resampler where there is one: of compound embeddings stock code hears the features alone."""
    if adapter.expression_resampler is not None:
        return _plus(adapter)
    return _face_id(dict(require_part(adapter.blendshape_projection, "expression codes").state_dict()))


def _face_id(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The hidden layer brought to a multiple of the input, twice at least, as in h94's files."""
    width, dim = weights["proj.0.weight"].shape
    wide = max(2, -(-width // dim)) * dim
    if wide != width:
        weights["proj.0.weight"] = _padded(weights["proj.0.weight"], wide, dim)
        weights["proj.0.bias"] = _padded(weights["proj.0.bias"], wide)
        weights["proj.2.weight"] = _padded(weights["proj.2.weight"], len(weights["proj.2.weight"]), wide)
    return weights


def _lora(adapter: EmojiAdapter, layers: list[str]) -> dict[str, Tensor]:
    """The LoRA of the attention layers that have one, under their numbers among all attention layers."""
    lora, made = adapter.identity_lora, {}
    if lora is None:
        return made
    weights = lora.state_dict()
    for place, layer in enumerate(attention_layers(layers)):
        if layer in lora.layers:
            made |= {f"{place}.{theirs}": weights[f"{layer}.{ours}"] for theirs, ours in LORA.items()}
    return made


def _plus(adapter: EmojiAdapter) -> dict[str, Tensor]:
    """The expression resampler."""
    config = adapter.config
    weights = dict(require_part(adapter.expression_resampler, "expression pictures").state_dict())
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
    made, like = {}, next(to_k.parameters(), torch.zeros(()))
    for place, (layer, dim) in enumerate(layers.items()):
        for name, projections in (("k", to_k), ("v", to_v)):
            acts = layer in projections.dims
            matrix = projections[layer].matrix() if acts else like.new_zeros(dim, width)
            made[f"{2 * place + 1}.to_{name}_ip.weight"] = matrix
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
