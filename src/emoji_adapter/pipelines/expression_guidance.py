"""Guidance of the expression by a scale of its own, beside the text's."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from torch import Tensor

from emoji_adapter.errors import InputError
from emoji_adapter.models.attention import CARRIER, LayerKV


@contextlib.contextmanager
def guided_expression(pipe: Any, scale: float | None, rows: int) -> Iterator[None]:
    """Let the expression be guided by `scale` in the calls of a pipeline inside.

    Stock guidance draws `e(negative) + g (e(all) - e(negative))`. Inside it becomes, as in InstructPix2Pix
    (Brooks et al. 2023, arXiv 2211.09800, eq. 3; which condition goes first is our choice),

    `e(negative) + g (e(text, identity) - e(negative)) + scale (e(all) - e(text, identity))`.

    No loop is copied: the U-Net is asked once more for the positive rows without the expression, and hands
    back `e(text, identity) + scale / g (e(all) - e(text, identity))` in their place. A step costs half as
    much again under guidance. `scale = g` is stock guidance up to rounding. Without guidance g counts as 1.

    Args:
        pipe: one of our pipelines.
        scale: at least 0; MagicFace found 1.5 to 3.5 useful. None changes nothing at all.
        rows: number of pictures made: the positive rows, which come last.

    Raises:
        InputError: the scale is negative or not finite.
    """
    if scale is None:
        yield
        return
    if not isinstance(scale, Real) or not math.isfinite(scale) or scale < 0:
        raise InputError(
            "expression_guidance_scale must be a number from 0, such as 3, or None for that of the text; "
            f"got {scale!r}."
        )

    def combine(unet: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
        kv = (keywords.get("cross_attention_kwargs") or {}).get(CARRIER)
        if kv is None or not _with_expression(kv):  # a step that is not controlled
            return output
        full = output[0]
        total = len(full)
        arguments, keywords = (_last(part, rows, total) for part in (arguments, keywords))
        keywords["cross_attention_kwargs"] = {**keywords["cross_attention_kwargs"], CARRIER: _without(kv)}
        without = unet.forward(*arguments, **keywords)[0]
        share = scale / (pipe.guidance_scale if total > rows else 1.0)
        mixed = full.clone()
        mixed[-rows:] = without + share * (full[-rows:] - without)
        return (mixed,)

    handle = pipe.unet.register_forward_hook(combine, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _with_expression(kv: Mapping[str, LayerKV]) -> bool:
    return any(parts.v_expression is not None for parts in kv.values())


def _without(kv: Mapping[str, LayerKV]) -> dict[str, LayerKV]:
    return {layer: parts._replace(k_expression=None, v_expression=None) for layer, parts in kv.items()}


def _last(value: Any, rows: int, total: int) -> Any:
    """The positive rows of whatever the U-Net is told; what has another number of rows stays as it is."""
    if isinstance(value, Tensor):
        return value[-rows:] if value.ndim and len(value) == total else value
    if isinstance(value, LayerKV):
        return value
    if isinstance(value, dict):
        return {key: item if key == CARRIER else _last(item, rows, total) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_last(item, rows, total) for item in value)
    return value
