"""Compound embeddings (DiffSFSR): a teacher's code beside the patch features of the same picture."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.parts import require_part, require_shape
from emoji_adapter.models.projection import MLPProjection
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
