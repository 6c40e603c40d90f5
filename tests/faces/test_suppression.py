"""A face within a face is not a second face; neighbours and overlapping heads are."""

import numpy as np
import pytest

from emoji_adapter.faces.suppression import without_nested
from emoji_adapter.types import Face


def face(score: float, *box: float) -> Face:
    return Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), score)


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        ((54, 87, 84, 119), 1),  # a mouth, wholly inside
        ((47, 30, 103, 93), 1),  # an eye with hair, mostly inside
        ((90, 37, 165, 120), 2),  # a neighbour who leans over
        ((130, 37, 205, 120), 2),
    ],
)
def test_weak_parts_go_neighbours_stay(other: tuple[float, ...], kept: int) -> None:
    sure, weak = face(0.9, 30, 37, 105, 120), face(0.55, *other)
    found = without_nested([weak, sure])
    assert len(found) == kept
    assert found[0] is sure
