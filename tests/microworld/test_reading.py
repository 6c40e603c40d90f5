"""How well a teacher reads: one that knows the answers, behind a detector that is right, off or blind."""

import numpy as np
import pytest

from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.faces.analysis import Face, FaceAnalyzer
from emoji_adapter.microworld.reading import reading
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.blendshapes import DRAWN_INDEX
from emoji_adapter.renderer.render import render

SIZE, COUNT = 64, 8
ASKED = pictures("test", COUNT, 30)


class Detector(FaceAnalyzer):
    """Knows the landmarks of the pictures in their order; `off` eye distances to the right of them."""

    def __init__(self, off: float = 0.0, blind: tuple[int, ...] = ()):
        self.off, self.blind, self.seen = off, blind, 0
        self.points = render(ASKED, SIZE).landmarks

    def detect(self, image):
        points = self.points[self.seen].clone()
        self.seen += 1
        if self.seen - 1 in self.blind:
            return []
        points[:, 0] += self.off * (points[1] - points[0]).norm()
        return [Face(np.array([8, 8, 56, 56], np.float32), points.numpy(), 0.9)]


class Knowing(BlendshapeTeacher):
    """Reads the truth off the first crops and their like, off all others that of the next picture."""

    def __init__(self, rows: list[int]):
        self.rows, self.first = rows, None

    def estimate(self, crops):
        crops = np.asarray(crops).astype(np.float32)
        self.first = crops if self.first is None else self.first
        alike = np.abs(crops - self.first).mean() < 1
        codes = np.zeros((len(crops), 52), np.float32)
        truth = ASKED.expression[self.rows].numpy()
        codes[:, list(DRAWN_INDEX)] = truth if alike else np.roll(truth, 1, axis=0)
        return codes


def test_landmarks_that_are_off_cost_what_the_teacher_knew():
    found = reading(Knowing(list(range(COUNT))), Detector(off=0.2), size=SIZE, count=COUNT)
    assert found["landmark_error"] == pytest.approx(0.2, abs=1e-3)
    assert found["true"] == {"exp": 0.0, "correlation": pytest.approx(1.0)}
    misread = (ASKED.expression - ASKED.expression.roll(1, 0)).abs().mean()
    assert found["found"]["exp"] == pytest.approx(float(misread), abs=1e-3)
    assert found["found"]["correlation"] < 0.5


def test_landmarks_that_are_right_cost_nothing():
    found = reading(Knowing(list(range(COUNT))), Detector(), size=SIZE, count=COUNT)
    assert found["landmark_error"] == pytest.approx(0, abs=1e-4)
    assert found["found"] == found["true"]


def test_pictures_without_a_face_are_left_out():
    kept = [row for row in range(COUNT) if row not in (0, 3)]
    found = reading(Knowing(kept), Detector(blind=(0, 3)), size=SIZE, count=COUNT)
    assert found["n"] == COUNT - 2
    assert found["found"]["exp"] == 0
