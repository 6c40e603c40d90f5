"""`clip_skip` where the stock pipeline cannot do it."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from emoji_adapter.errors import InputError


@contextlib.contextmanager
def explained_clip_skip(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Puts into words that `clip_skip` is broken in stock pipelines of SD1.5 and SD2.

    diffusers 0.42 asks `text_encoder.text_model` for its last normalisation; since transformers 5.6
    `CLIPTextModel` has no such part. Where stock code can do it, this does nothing.

    Args:
        arguments: of the stock call, by name.

    Raises:
        InputError: instead of stock's `AttributeError`.
    """
    try:
        yield
    except AttributeError as error:
        if arguments.get("clip_skip") is None or "text_model" not in str(error):
            raise
        raise InputError(
            f"clip_skip={arguments['clip_skip']!r} does not work with this diffusers and this transformers: "
            f"{error}. Leave clip_skip out, or pass prompt_embeds of the layer that you want."
        ) from error
