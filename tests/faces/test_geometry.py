"""Alignment: equal to insightface's, exact on known transforms; the oval holds the face."""

import warnings

import numpy as np
import pytest

from emoji_adapter.errors import InputError
from emoji_adapter.faces.geometry import (
    GREY,
    TEMPLATE,
    align,
    face_mask,
    mask_face,
    similarity_transform,
    template,
)

LANDMARKS = np.array([[48.9, 70.5], [77.7, 67.8], [63.4, 86.6], [50.0, 100.3], [74.7, 99.7]], np.float32)


def moved(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


def picture(height=128, width=128):
    y, x = np.mgrid[:height, :width]
    wave = 127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)
    return np.stack([wave, wave[::-1], 255 - wave], -1).clip(0, 255).astype(np.uint8)


def test_it_is_insightfaces_transform_and_crop():
    from insightface.utils import face_align

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = face_align.estimate_norm(LANDMARKS, 112)
        crop = face_align.norm_crop(picture(), LANDMARKS, 112)
    assert np.allclose(similarity_transform(LANDMARKS, 112), expected, atol=1e-4)
    ours = align(picture(), LANDMARKS, 112)
    inside = align(np.full((128, 128, 3), 200, np.uint8), LANDMARKS, 112)[..., 0] == 200
    assert inside.mean() > 0.9
    assert np.abs(ours[inside].astype(int) - crop[inside]).max() <= 1


@pytest.mark.parametrize(("size", "zoom", "rise"), [(112, 1.0, 0.0), (224, 0.8, 0.1), (64, 1.3, -0.2)])
def test_a_rotated_scaled_shifted_template_is_undone(size, zoom, rise):
    turn = 1.7 * np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    landmarks = TEMPLATE @ turn.T + np.array([30.0, -12.0])
    matrix = similarity_transform(landmarks, size, zoom, rise)
    assert np.allclose(moved(landmarks, matrix), template(size, zoom, rise), atol=1e-4)
    assert np.isclose(np.linalg.det(matrix[:, :2]), (zoom * size / 112 / 1.7) ** 2)


def test_a_mirrored_face_is_not_mirrored_back():
    mirrored = TEMPLATE * np.array([-1.0, 1.0])
    assert np.linalg.det(similarity_transform(mirrored)[:, :2]) > 0


def test_zoom_is_about_the_centre_and_rise_moves_up():
    assert np.allclose(template(112, 0.5) - 56, (TEMPLATE - 56) * 0.5)
    assert np.allclose(template(112, 0.9, 0.25), template(112, 0.9) - [0, 28])
    assert np.allclose(template(224, 0.9, 0.1), 2 * template(112, 0.9, 0.1))


def test_outside_the_picture_is_grey():
    aligned = align(np.zeros((60, 60, 3), np.uint8), TEMPLATE, 112)
    assert (aligned[100:, 100:] == GREY).all()
    assert (aligned[:50, :50] == 0).all()


def test_a_large_face_is_averaged_not_sampled():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (896, 896, 1), dtype=np.uint8).repeat(3, 2) * 255
    aligned = align(noise, TEMPLATE * 8, 112)
    assert abs(aligned.mean() - 127.5) < 3
    assert aligned.std() < 40  # point sampling keeps the noise's 127; 8x8 averages have 16


def test_a_large_face_lies_where_a_small_one_does():
    big = picture().repeat(8, 0).repeat(8, 1)
    small = align(picture(), LANDMARKS, 112)
    # pixel i of the small picture covers pixels 8i to 8i + 7 of the large one
    large = align(big, LANDMARKS * 8 + 3.5, 112)
    inside = (small != GREY).all(-1) & (large != GREY).all(-1)
    assert np.abs(small[inside].astype(int) - large[inside]).mean() < 2


@pytest.mark.parametrize(
    "landmarks", [np.zeros((4, 2)), np.full((5, 2), np.nan), np.ones((5, 2)), np.zeros((5, 3))]
)
def test_landmarks_that_are_no_face_are_refused(landmarks):
    with pytest.raises(InputError, match="landmarks"):
        similarity_transform(landmarks)


def test_the_oval_holds_the_landmarks_and_not_the_corners():
    for zoom, rise in ((1.0, 0.0), (0.9, 0.14), (0.7, 0.0)):
        mask = face_mask(112, zoom, rise)
        points = template(112, zoom, rise).round().astype(int)
        assert mask[points[:, 1], points[:, 0]].all()
        assert not mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_mask_face_greys_the_outside_only_and_copies():
    aligned = picture(112, 112)
    before = aligned.copy()
    masked = mask_face(aligned, 0.9, 0.14)
    mask = face_mask(112, 0.9, 0.14)
    assert masked.dtype == np.uint8
    assert (masked[~mask] == GREY).all()
    assert np.array_equal(masked[mask], before[mask])
    assert np.array_equal(aligned, before)
