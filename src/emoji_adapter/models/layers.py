"""Which cross-attention layers a U-Net has, what they are called, and how some of them are chosen."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import cast

from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.errors import InputError

FAMILY_NAMES = {"sd15": "SD1.5", "sd2": "SD2", "sdxl": "SDXL", "other": "another Stable Diffusion"}
_FAMILY_OF_WIDTH = {768: "sd15", 1024: "sd2"}
_SUFFIX = ".processor"


def cross_attention_layers(unet: UNet2DConditionModel) -> dict[str, int]:
    """Name and width of each cross-attention layer.

    Args:
        unet: a diffusers `UNet2DConditionModel`.

    Returns:
        `{"down_blocks.0.attentions.0.transformer_blocks.0.attn2": 320, ...}` in the order of
        `unet.attn_processors` (down, up, mid: the order of IP-Adapter files); the width is that of queries,
        keys and values, all heads together.
    """
    names = (name.removesuffix(_SUFFIX) for name in unet.attn_processors)
    return {name: attention_of(unet, name).inner_dim for name in names if name.endswith("attn2")}


def attention_of(unet: UNet2DConditionModel, layer: str) -> Attention:
    """The module of a layer."""
    return cast(Attention, unet.get_submodule(layer))


def base_family(unet: UNet2DConditionModel) -> str:
    """Family of a U-Net: "sd15", "sd2", "sdxl" or "other", told by its configuration alone."""
    config = unet.config
    return family_of_sizes(config["cross_attention_dim"], config["addition_embed_type"] == "text_time")


def family_of_sizes(width: int, extra_conditions: bool) -> str:
    """Family of a U-Net by its cross-attention width, and by whether it knows SDXL's micro-conditions."""
    return "sdxl" if extra_conditions else _FAMILY_OF_WIDTH.get(width, "other")


def describe_family(family: str, width: int) -> str:
    """A family in words, e.g. "SDXL (cross-attention width 2048)"."""
    return f"{FAMILY_NAMES.get(family, family)} (cross-attention width {width})"


def matches(name: str, pattern: str) -> bool:
    """Whether a layer name is meant by "all", a dotted prefix, or a shell pattern such as "*.attn2"."""
    return pattern == "all" or name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)


def select(names: Iterable[str], patterns: str | Sequence[str]) -> list[str]:
    """The names meant by any of the patterns, in the order of `names`.

    Args:
        names: layer names, as from `cross_attention_layers`.
        patterns: one or several of: "all"; a name; a dotted prefix ("mid_block",
            "up_blocks.0.attentions.1"); a shell pattern. An empty list means no layer.

    Raises:
        InputError: a pattern means no layer at all.
    """
    names = list(names)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        _require_some(names, pattern)
    return [name for name in names if any(matches(name, pattern) for pattern in patterns)]


def scale_of_layers(names: Iterable[str], scale: float | Mapping[str, float]) -> list[float]:
    """One scale for each layer.

    Args:
        names: layer names.
        scale: one number for all, or pattern -> number (see `select`). As in diffusers'
            `set_ip_adapter_scale`, a layer that no pattern means gets 0; when several mean it, the last one
            counts.

    Raises:
        InputError: a pattern means no layer at all.
    """
    names = list(names)
    if not isinstance(scale, Mapping):
        return [float(scale)] * len(names)
    for pattern in scale:
        _require_some(names, pattern)
    return [next((float(scale[p]) for p in reversed(list(scale)) if matches(name, p)), 0.0) for name in names]


def _require_some(names: list[str], pattern: str) -> None:
    if not any(matches(name, pattern) for name in names):
        raise InputError(
            f"No cross-attention layer is meant by {pattern!r}. Use 'all', a name, a dotted prefix or a "
            f"shell pattern of these: {', '.join(names) or '(none)'}."
        )
