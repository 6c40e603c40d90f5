"""What an adapter for a real family is by default, where nothing else is asked for.

None of it is measured: no adapter of these sizes has been trained yet, and nobody has probed these layers for
expression. What it rests on is said beside it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.models.layers import base_family, cross_attention_layers, matches, select

SIZES: dict[tuple[str, int], dict[str, Any]] = {
    ("sd15", 768): {"kv_rank": 112, "resampler_depth": 2, "blendshape_width": 128},
    ("sd2", 1024): {"kv_rank": 80, "resampler_depth": 2, "blendshape_width": 128},
    ("sdxl", 2048): {"kv_rank": 96, "resampler_depth": 2, "blendshape_width": 128},
}
"""Family and width of its text features -> sizes, chosen so that a dual adapter in fp16 takes 60 MB (SD1.5,
SD2) or 160 MB (SDXL) at most; IP-Adapter Plus has keys and values of full rank and a resampler of four
layers."""


class Patterns(NamedTuple):
    """Where the branches act, as patterns of `models.layers.select`."""

    identity: tuple[str, ...]
    expression: tuple[str, ...]


_SD = Patterns(
    identity=("down_blocks.2.attentions.1", "mid_block", "up_blocks"),
    expression=("down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.1", "up_blocks.2"),
)
_SDXL = Patterns(
    identity=(
        "down_blocks.1",
        "mid_block",
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
        "up_blocks.1",
    ),
    expression=("down_blocks.2.attentions.1", "mid_block", "up_blocks.0.attentions.0", "up_blocks.1"),
)

LAYERS: dict[tuple[str, int], Patterns] = {("sd15", 768): _SD, ("sd2", 1024): _SD, ("sdxl", 2048): _SDXL}
"""Family and width -> default layers; other families have all. UNMEASURED. A call of the U-Net costs at most
a fifth of the operations that two stock IP-Adapters add to it (`benchmarks/overhead.py --count`), which
allows 22 terms (SD1.5) and 76 (SDXL), both branches together.

SD1.5 and SD2: shape follows the text in the coarse inner layers, colour in the fine outer ones (P+, arXiv
2303.09522). So the expression leaves out the finest resolution, and the identity, of which colours are a
part, has the whole decoder, the middle and the encoder's last layer. Where exactly the line runs: our
choice. InstantStyle's code tries `up_blocks.1` as SD1.5's style block, "experimental, not obvious": not
followed.

SDXL: `up_blocks.0.attentions.0` holds content and `up_blocks.0.attentions.1` style (B-LoRA, arXiv
2403.14572); by InstantStyle (arXiv 2404.02733) the latter holds colour and material,
`down_blocks.2.attentions.1` structure. So the expression acts on content and structure and leaves style
alone. The identity acts on content and in the style block, for B-LoRA names a worse likeness as the price of
leaving its colours out. The middle, the fine layers of `up_blocks.1` and, for the identity, `down_blocks.1`:
our choice."""


def fresh_config(
    unet: UNet2DConditionModel,
    identity_layers: str | Sequence[str] | None,
    expression_layers: str | Sequence[str] | None,
    given: dict[str, Any],
) -> dict[str, Any]:
    """Arguments of `EmojiAdapter` for a fresh adapter.

    Args:
        unet: what it is for.
        identity_layers: patterns (see `models.layers.select`); None: the default of the family.
        expression_layers: likewise.
        given: what the caller asks for; goes before the defaults of the family.
    """
    dims, base = cross_attention_layers(unet), (base_family(unet), unet.config["cross_attention_dim"])
    default = LAYERS.get(base, Patterns(("all",), ("all",)))
    chosen = {
        "identity_layers": _chosen(dims, identity_layers, default.identity),
        "expression_layers": _chosen(dims, expression_layers, default.expression),
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


def _chosen(names: Iterable[str], asked: str | Sequence[str] | None, default: tuple[str, ...]) -> list[str]:
    """What is asked for; else the default layers that a U-Net, perhaps a pruned one, has, or all if none."""
    names = list(names)
    if asked is not None:
        return select(names, asked)
    return [name for name in names if any(matches(name, pattern) for pattern in default)] or names
