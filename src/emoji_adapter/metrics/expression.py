"""How far a picture's expression is from the one that was asked for."""

import numpy as np
from jaxtyping import Float

from emoji_adapter.metrics.bootstrap import Figure


def blendshape_distance(
    read: Float[np.ndarray, "n k"], true: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, " n"]:
    """Exp: mean absolute difference of blendshapes, one number a picture, 0 to 1; lower is better.

    Only blendshapes that are drawn belong in it: those that are always 0 would dilute the mean.

    Args:
        read: what the judge sees in the output; values outside [0, 1] are clipped, for no face shows them.
        true: what the template shows.
    """
    return np.abs(np.clip(read, 0, 1).astype(np.float64) - true).mean(axis=-1)


def normalised(score: Figure, without: Figure, oracle: Figure) -> Figure:
    """ExpN: share of the way from no control to the perfect answer, 1 = perfect, 0 = no control.

    Args:
        score: Exp of the outputs.
        without: Exp of the same cells with the expression left out.
        oracle: Exp of the perfect answers: what the judge itself errs.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.subtract(without, oracle)
        return np.divide(np.subtract(without, score), whole) * np.where(np.equal(whole, 0), np.nan, 1.0)
