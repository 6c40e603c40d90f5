"""Which picture and which embedding belong to which prompt, and which row of the batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.errors import InputError


def people_of(pictures: Any, prompts: int) -> list[list[Any]]:
    """The pictures of each person.

    Args:
        pictures: one picture (the same person for all prompts); a flat list: with one prompt several
            pictures of one person, with several prompts one picture for each; a list of lists: several
            pictures for each prompt.
        prompts: number of prompts.

    Returns:
        A list of pictures for each person; one person, or as many as prompts.

    Raises:
        InputError: the lengths do not agree.
    """
    if not _is_list(pictures):
        return [[pictures]]
    if not any(_is_list(entry) for entry in pictures):
        pictures = [pictures] if prompts == 1 else [[picture] for picture in pictures]
    pictures = [list(entry) if _is_list(entry) else [entry] for entry in pictures]
    _require_one_each(
        len(pictures), prompts, "identity_image", "To give several pictures of one person, nest them"
    )
    if not all(pictures):
        raise InputError("identity_image holds an empty list; give at least one picture of each person.")
    return pictures


def expressions_of(expressions: Any, prompts: int) -> list[Any]:
    """The expression of each prompt: one for all, or as many as prompts.

    Raises:
        InputError: the lengths do not agree.
    """
    if not _is_list(expressions):
        return [expressions]
    _require_one_each(len(expressions), prompts, "expression", "Give one expression for all, or one for each")
    return list(expressions)


def rows_of(embeds: Any, prompts: int, images_per_prompt: int, what: str) -> Tensor:
    """One row for each picture that is made, in the order of the stock prompt embeddings: p0, p0, p1, p1.

    Args:
        embeds: `[1, ...]` (the same for all prompts) or `[prompts, ...]`.
        prompts: number of prompts.
        images_per_prompt: pictures made of each prompt.
        what: name of the argument, for messages.

    Raises:
        InputError: another number of rows, or a value that is not finite.
    """
    embeds = torch.as_tensor(embeds)
    _require_one_each(len(embeds), prompts, what, "Give one row for all prompts, or one for each")
    if not embeds.isfinite().all():
        raise InputError(
            f"{what} holds values that are not finite (NaN or infinity). Encode the picture again."
        )
    return embeds.expand(prompts, *embeds.shape[1:]).repeat_interleave(images_per_prompt, dim=0)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _require_one_each(given: int, prompts: int, what: str, hint: str) -> None:
    if given not in (1, prompts):
        raise InputError(
            f"{what} has {given} entries for {prompts} prompt{'s' if prompts != 1 else ''}; expected 1 or "
            f"{prompts}. {hint}."
        )
