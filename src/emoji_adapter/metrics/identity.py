"""How much of a person is in a picture: cosine of embeddings, its place between bounds, and leak."""

import numpy as np
from jaxtyping import Float

from emoji_adapter.metrics.bootstrap import Figure


def cosine(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Cosine of each row of `first` with the same row of `second`, -1 to 1.

    ID is this between the judge's embeddings of an output and of the identity photo (EmojiDiff's protocol).
    """
    return np.sum(_unit(first) * _unit(second), axis=-1)


def different_person_cosine(
    photos: Float[np.ndarray, "n d"], answers: Float[np.ndarray, "n d"], people: np.ndarray
) -> Float[np.ndarray, " n"]:
    """Mean cosine of each photo with the perfect answers for *other* people: the floor of ID.

    Args:
        photos: embeddings of the identity photos, one a cell.
        answers: embeddings of the oracle's pictures, one a cell.
        people: whose photo and answer it is, (n,).

    Returns:
        One mean a cell; NaN where nobody else is in the set.
    """
    cosines = _unit(photos) @ _unit(answers).T
    others = people[:, None] != people[None, :]
    count = others.sum(axis=1)
    return np.divide((cosines * others).sum(axis=1), count, out=np.full(len(photos), np.nan), where=count > 0)


def position(score: Figure, floor: Figure, oracle: Figure) -> Figure:
    """Place of an ID between a stranger (0) and the perfect answer (1); arrays work too."""
    return _share(score - floor, oracle - floor)


def leak(
    outputs: Float[np.ndarray, "n d"], oracles: Float[np.ndarray, "n d"], templates: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """How much more an output resembles the template's person than the perfect answer does; 0 is none.

    Subtracting the oracle's cosine takes out what the two share by right: the expression and the style.

    Args:
        outputs: the judge's embeddings of the outputs.
        oracles: of the perfect answers for the same cells.
        templates: of the expression templates, which show other people.
    """
    return cosine(outputs, templates) - cosine(oracles, templates)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _share(part: Figure, whole: Figure) -> Figure:
    """Quotient that is NaN, without a warning, where the whole is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(part, whole) * np.where(np.equal(whole, 0), np.nan, 1.0)
