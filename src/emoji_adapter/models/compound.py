"""Compound embeddings (DiffSFSR): what several networks read in one picture.

Of an expression, a teacher's code beside patch features; of an identity, two recognisers' embeddings.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.parts import require_part, require_shape
from emoji_adapter.models.projection import FaceIDPlusProjection, MLPProjection, embedding_tokens
from emoji_adapter.models.resampler import ExpressionResampler


def expression_tokens(
    resampler: ExpressionResampler,
    projection: MLPProjection | None,
    config: Mapping[str, Any],
    embeds: Float[Tensor, "batch patches width"],
) -> Float[Tensor, "batch tokens dim"]:
    """Tokens of expression pictures.

    Of a compound embedding the tokens of the code and those of the features stand side by side, as many of
    each: attention weighs them, and since training leaves out either, none is needed (our choice).

    Args:
        resampler: of the patch features.
        projection: of the code.
        config: of the adapter.
        embeds: patch features; with an `expression_teacher` the last row is its code, padded with zeros.

    Raises:
        AdapterMismatchError: features of another length, or the last row is no code.
    """
    require_shape(embeds, "expression features", (None, config["expression_dim"]))
    if config["expression_teacher"] is None:
        return resampler(embeds)
    length, last = config["blendshapes"], embeds[:, -1]
    if bool(last[:, length:].any()):
        raise AdapterMismatchError(
            "This adapter takes compound embeddings: patch features and, in the last row, the teacher's "
            f"{length} blendshapes followed by zeros; got features alone. Encode with "
            "pipe.encode_expression(picture)."
        )
    codes = require_part(projection, "expression codes")(last[:, :length])
    return torch.cat([codes, resampler(embeds[:, :-1])], dim=1)


def identity_tokens(
    first: MLPProjection | FaceIDPlusProjection,
    second: MLPProjection | None,
    config: Mapping[str, Any],
    embeds: Tensor,
    features: Tensor | None,
) -> Float[Tensor, "batch *halves tokens dim"]:
    """Tokens of identity embeddings, of one recogniser or of two.

    Of a compound embedding they are `[batch, 2, tokens, dim]`. So that none dominates, each half is attended
    by itself, and the mean of both acts (`attention.py`); training leaves out either (`with_one_alone`), so
    that each learns to tell all. How DiffSFSR balances them is not known: our choice.

    Args:
        first: of the face pack's recogniser.
        second: of the `second_recogniser`; None: the adapter has none.
        config: of the adapter.
        embeds: `[batch, identity_dim]`; with a second recogniser `[batch, 2 identity_dim]`, its half last.
        features: CLIP features of the face, for adapters that read them.

    Raises:
        AdapterMismatchError: another shape, or features missing or too many.
    """
    if second is None:
        return embedding_tokens(first, config, embeds, features)
    length = config["identity_dim"]
    if embeds.ndim != 2 or embeds.shape[1] != 2 * length:
        raise AdapterMismatchError(
            f"This adapter takes compound identity embeddings of shape [batch, {2 * length}]: that of the "
            f"face pack {config['identity_encoder']!r} and after it that of the second recogniser "
            f"{config['second_recogniser']!r}; got {list(embeds.shape)}. Encode with "
            "pipe.encode_identity(picture), which runs both."
        )
    halves = zip((first, second), embeds.chunk(2, dim=1), strict=True)
    return torch.stack([embedding_tokens(part, config, half, features) for part, half in halves], dim=1)


def with_one_alone(
    tokens: Float[Tensor, "batch 2 tokens dim"], alone: Int[Tensor, " batch"]
) -> Float[Tensor, "batch 2 tokens dim"]:
    """Tokens of compound embeddings, of which some rows lose a half: the other half's take its place.

    Args:
        tokens: of both halves.
        alone: 0 keeps both, 1 the first alone, 2 the second alone.
    """
    first, second = tokens.unbind(1)
    only = alone[:, None, None]
    return torch.stack([torch.where(only == 2, second, first), torch.where(only == 1, first, second)], dim=1)


def first_embedding(
    config: Mapping[str, Any], embeds: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch half"]:
    """The face pack's part of identity embeddings: the one that others can compare, or swap faces by."""
    return embeds if config["second_recogniser"] is None else embeds[..., : config["identity_dim"]]
