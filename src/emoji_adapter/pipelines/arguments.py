"""The arguments of a call, ours and those of the stock pipeline, checked and by name."""

import difflib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from emoji_adapter.errors import InputError
from emoji_adapter.models.layers import scale_of_layers

LayerScale = float | Mapping[str, float]


def by_name(
    stock: Callable[..., Any], ours: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a stock call by name.

    Args:
        stock: `__call__` of the stock pipeline.
        ours: names of our own arguments.
        args: as given.
        kwargs: as given.

    Raises:
        InputError: one is not known there and is nearly one of ours.
    """
    arguments = dict(inspect.signature(stock).bind(*args, **kwargs).arguments)
    rest = arguments.pop("kwargs", {})
    for name in rest:
        nearest = difflib.get_close_matches(name, ours, n=1, cutoff=0.75)
        if nearest:
            raise InputError(f"There is no argument {name!r}; did you mean {nearest[0]!r}?")
    return {**arguments, **rest}


def number_of_prompts(arguments: Mapping[str, Any]) -> int:
    """How many prompts a stock call is given, as text or as embeddings."""
    prompt, embeds = arguments.get("prompt"), arguments.get("prompt_embeds")
    if isinstance(prompt, list):
        return len(prompt)
    return 1 if prompt is not None or embeds is None else len(embeds)


def require_one_of(**given: Any) -> None:
    """Refuses a thing that is given in two ways."""
    if all(value is not None for value in given.values()):
        raise InputError(f"Give either {' or '.join(given)}, not both.")


def check_scale(branch: str, scale: LayerScale, layers: Sequence[str]) -> None:
    """Refuses a scale that is no strength, or a pattern that means none of the layers."""
    for value in scale.values() if isinstance(scale, Mapping) else [scale]:
        if not isinstance(value, Real) or not math.isfinite(value) or value < 0:
            raise InputError(
                f"The {branch} scale must be a number from 0 (off) to 1 (as trained) or somewhat above, got "
                f"{value!r}."
            )
    scale_of_layers(layers, scale)
