"""The packaged swapper through the unmodified INSwapper: quiet, local, refused in words."""

import numpy as np
import pytest

from emoji_adapter.config import packaged_part
from emoji_adapter.errors import FaceError, WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.swap import FaceSwapper
from emoji_adapter.types import Face

CPU = ("CPUExecutionProvider",)
LANDMARKS = np.array([[46, 56], [82, 56], [64, 76], [50, 94], [78, 94]], np.float32)
FACE = Face(np.array([30, 30, 98, 112], np.float32), LANDMARKS, 1.0)


@pytest.fixture(scope="module")
def swapper():
    return FaceSwapper(providers=CPU, threads=1)


def picture():
    return np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)


def person(seed):
    return np.random.default_rng(seed).standard_normal(512).astype(np.float32)


def test_the_face_changes_with_the_person_and_the_rest_stays(swapper, capfd):
    image = picture()
    first, second = (swapper.swap(image, FACE, person(seed)) for seed in (1, 2))
    assert capfd.readouterr().out == ""
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(image, picture())
    assert np.array_equal(first[:, 140:], image[:, 140:])
    assert np.abs(first.astype(int) - image)[60:90, 50:80].mean() > 3
    assert not np.array_equal(first, second)


def test_the_length_of_the_embedding_does_not_matter_but_it_needs_one(swapper):
    first, second = (swapper.swap(picture(), FACE, person(1) * length) for length in (1, 20))
    assert np.abs(first.astype(int) - second).max() <= 1
    with pytest.raises(FaceError, match="no length"):
        swapper.swap(picture(), FACE, np.zeros(512, np.float32))


def test_a_face_outside_the_picture_is_refused(swapper):
    outside = Face(FACE.box + 900, LANDMARKS + 900, 1.0)
    with pytest.raises(FaceError, match="cannot be pasted back"):
        swapper.swap(picture(), outside, person(1))


def test_what_is_no_swapper_is_refused(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="INSwapper's layout"):
        FaceSwapper(tmp_path / "swapper.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    for path in (tmp_path / "bad.onnx", packaged_part("faces/rec.onnx")):
        with pytest.raises(WeightsFormatError, match=r"(face swapper|is no face swapper)"):
            FaceSwapper(path, providers=CPU).swap(picture(), FACE, person(1))
