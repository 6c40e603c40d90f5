import numpy as np
import pytest

from emoji_adapter.metrics.landmarks import landmark_distance, landmark_ratios

LEFT = {362: (6, 4), 263: (10, 4), 386: (8, 5), 374: (8, 3), 473: (7, 4)}
RIGHT = {133: (4, 4), 33: (0, 4), 159: (2, 4.5), 145: (2, 3.5), 468: (2, 4)}
MOUTH = {61: (2, 0), 291: (8, 0), 13: (5, 1.5), 14: (5, -1.5)}


def face() -> np.ndarray:
    points = np.zeros((1, 478, 3))
    for number, place in (LEFT | RIGHT | MOUTH).items():
        points[0, number, :2] = place
    return points


def test_ratios_of_a_face_drawn_by_hand() -> None:
    assert landmark_ratios(face())[0] == pytest.approx([2 / 4, 1 / 4, 1 / 4, 1 / 2, 3 / 6])


def test_size_place_and_turn_do_not_matter() -> None:
    turn = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    assert landmark_ratios(3 * face() @ turn.T + 7)[0] == pytest.approx(landmark_ratios(face())[0])


def test_an_opened_mouth_counts_a_fifth() -> None:
    open_mouth = face()
    open_mouth[0, 14, 1] = -4.5
    distance = landmark_distance(landmark_ratios(open_mouth), landmark_ratios(face()))
    assert distance == pytest.approx([(6 / 6 - 3 / 6) / 5])


def test_no_width_is_not_a_number() -> None:
    assert np.isnan(landmark_ratios(np.zeros((1, 478, 2)))).all()
