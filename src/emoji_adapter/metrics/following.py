"""How much of the template's skin or head pose a picture takes over; both should stay."""

import numpy as np
from jaxtyping import Float


def following_terms(
    outputs: Float[np.ndarray, "n k"], own: Float[np.ndarray, "n k"], template: Float[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Numerator and denominator, a cell each, of the slope of (out - own) on (template - own).

    The ratio of their sums is the least-squares slope through the origin: 0 when outputs keep their own skin
    or pose, 1 when they take the template's. Single ratios are never formed, so cells whose template is
    alike by chance weigh little instead of blowing up; nothing is clipped.

    Args:
        outputs: what the judge reads in the outputs.
        own: what it reads in the same cells without the template (same noise, same person): its errors
            cancel.
        template: what the templates show.
    """
    way = np.asarray(template, dtype=np.float64) - own
    step = np.asarray(outputs, dtype=np.float64) - own
    return (step * way).sum(axis=-1), (way * way).sum(axis=-1)
