"""Compound identities in training: whether a set holds what an adapter listens to, and who loses a half."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from emoji_adapter.data.dataset import PreparedSet
from emoji_adapter.errors import DataError
from emoji_adapter.faces.packs import same_pack
from emoji_adapter.models.adapter import EmojiAdapter


def with_identity_for(adapter: EmojiAdapter, data: PreparedSet) -> PreparedSet:
    """The set with the identity embeddings that an adapter listens to, and no others.

    Args:
        adapter: with or without a second recogniser.
        data: second embeddings that the adapter does not read are left out.

    Raises:
        DataError: the set has no second embeddings, or those of another recogniser.
    """
    wanted, stored = adapter.config["second_recogniser"], data.meta.second_recogniser
    if wanted is None:
        return data if stored is None else replace(data, second_identity=None)
    alike = stored is not None and ("@" in wanted) == ("@" in stored) and same_pack(wanted, stored)
    if not alike:
        holds = "no second embeddings" if stored is None else f"those of {stored!r}"
        raise DataError(
            f"The adapter's identity is compound, its second recogniser {wanted!r}; the set holds {holds}. "
            "Run `emoji-adapter prepare` with --second-recogniser again, or name what the set holds in "
            "adapter.second_recogniser (a new adapter)."
        )
    return data


def draw_alone(share: float, rows: int, generator: Generator) -> Int[Tensor, " rows"]:
    """Draw which rows of a compound identity lose one of the two embeddings.

    Args:
        share: of the rows that lose one, either as often (our choice).
        rows: how many there are.
        generator: on the training device.

    Returns:
        0 keeps both, 1 the first alone, 2 the second alone, see `models.compound.with_one_alone`.
    """
    drawn = torch.rand(rows, generator=generator, device=generator.device)
    return (drawn < share).long() + (drawn < share / 2).long()
