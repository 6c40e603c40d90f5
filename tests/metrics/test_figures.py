import numpy as np
import pytest

from emoji_adapter.metrics.expression import blendshape_distance, normalised
from emoji_adapter.metrics.following import following_terms
from emoji_adapter.metrics.identity import cosine, different_person_cosine, leak, position


def test_cosine_ignores_length() -> None:
    first, second = np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[5.0, 0.0], [-2.0, 2.0]])
    assert cosine(first, second) == pytest.approx([1.0, 0.0])


def test_floor_averages_other_people_only() -> None:
    photos = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    answers = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    people = np.array([0, 0, 1])
    assert different_person_cosine(photos, answers, people) == pytest.approx([0.8, 0.8, 0.4])


def test_floor_of_a_lonely_person_is_not_a_number() -> None:
    one = np.ones((2, 3))
    assert np.isnan(different_person_cosine(one, one, np.array([4, 4]))).all()


def test_leak_is_relative_to_the_oracle() -> None:
    person, stranger = np.eye(2)[:1], np.eye(2)[1:]
    half = (person + stranger) / np.sqrt(2)
    assert leak(half, person, stranger) == pytest.approx([np.sqrt(0.5)])
    assert leak(half, half, stranger) == pytest.approx([0.0])


@pytest.mark.parametrize(("score", "place"), [(0.2, 0.0), (0.5, 0.5), (0.8, 1.0), (0.1, -1 / 6)])
def test_position_runs_from_floor_to_oracle(score: float, place: float) -> None:
    assert position(score, 0.2, 0.8) == pytest.approx(place)


@pytest.mark.parametrize(("score", "share"), [(0.30, 0.0), (0.20, 0.5), (0.10, 1.0), (0.34, -0.2)])
def test_normalised_runs_from_no_control_to_oracle(score: float, share: float) -> None:
    assert normalised(score, 0.3, 0.1) == pytest.approx(share)


def test_no_room_between_bounds_is_not_a_number() -> None:
    assert np.isnan(position(0.5, 0.4, 0.4))
    assert np.isnan(normalised(np.array([0.1, 0.2]), np.array([0.1, 0.3]), np.array([0.1, 0.1]))[0])


def test_blendshape_distance_clips_what_no_face_shows() -> None:
    read = np.array([[1.4, -0.3, 0.5]])
    assert blendshape_distance(read, np.array([[1.0, 0.0, 0.2]])) == pytest.approx([0.1])


def test_following_recovers_a_planted_slope_through_noise() -> None:
    rng = np.random.default_rng(0)
    own, template = rng.uniform(-1, 1, (2, 4000, 2))
    outputs = own + 0.3 * (template - own) + rng.normal(0, 0.2, own.shape)
    top, bottom = following_terms(outputs, own, template)
    assert top.sum() / bottom.sum() == pytest.approx(0.3, abs=0.02)


def test_following_is_zero_for_changes_that_do_not_follow() -> None:
    rng = np.random.default_rng(0)
    own, template, noise = rng.uniform(-1, 1, (3, 4000, 3))
    top, bottom = following_terms(own + 0.5 * noise, own, template)
    assert abs(top.sum() / bottom.sum()) < 0.03
