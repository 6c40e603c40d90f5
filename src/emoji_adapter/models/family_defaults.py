"""What an adapter for a real family is by default, where nothing else is asked for.

None of it is measured: no adapter of these sizes has been trained yet. What it rests on is said beside it.
"""

from collections.abc import Sequence
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.models.layers import base_family, cross_attention_layers, matches, select

_SD = {"kv_rank": 64, "resampler_depth": 2, "blendshape_width": 128}

SIZES: dict[tuple[str, int], dict[str, Any]] = {
    ("sd15", 768): _SD,
    ("sd2", 1024): _SD,
    ("sdxl", 2048): {"kv_rank": 48, "resampler_depth": 2, "blendshape_width": 128},
}
"""Family and width of its text features -> sizes, chosen so that a dual adapter in fp16 takes 60 MB (SD1.5)
or 160 MB (SDXL) at most; IP-Adapter Plus has keys and values of full rank and a resampler of four layers."""

STYLE_LAYERS = {("sdxl", 2048): ("up_blocks.0.attentions.1",)}
"""Layers that the expression leaves alone: the style block of SDXL by InstantStyle (arXiv 2404.02733) and
B-LoRA (arXiv 2403.14572)."""


def fresh_config(
    unet: UNet2DConditionModel,
    identity_layers: str | Sequence[str] | None,
    expression_layers: str | Sequence[str] | None,
    given: dict[str, Any],
) -> dict[str, Any]:
    """Arguments of `EmojiAdapter` for a fresh adapter.

    Args:
        unet: what it is for.
        identity_layers: patterns (see `models.layers.select`); None: all layers.
        expression_layers: patterns; None: all but those known for style.
        given: what the caller asks for; goes before the defaults of the family.
    """
    dims, base = cross_attention_layers(unet), (base_family(unet), unet.config["cross_attention_dim"])
    style = STYLE_LAYERS.get(base, ())
    content = [name for name in dims if not any(matches(name, block) for block in style)]
    chosen = {
        "identity_layers": select(dims, "all" if identity_layers is None else identity_layers),
        "expression_layers": content if expression_layers is None else select(dims, expression_layers),
    }
    used = {name for names in chosen.values() for name in names}
    return {
        **SIZES.get(base, {}),
        **given,
        **chosen,
        "base_family": base[0],
        "cross_attention_dim": base[1],
        "layer_dims": {name: dim for name, dim in dims.items() if name in used},
    }
