"""A folder as a source: order, people, captions; and the square around a face."""

import os

import numpy as np
import pytest
from PIL import Image

from emoji_adapter.data.folder import digest_of, list_pictures
from emoji_adapter.data.square import cut_square, face_square, move_points
from emoji_adapter.errors import DataError, FaceError


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_subfolders_are_people_and_sidecars_captions(tmp_path):
    fill(tmp_path, "b/2.png", "b/deep/3.JPG", "a/1.webp", "top.png", "a/notes.md")
    (tmp_path / "a" / "1.txt").write_text("  a person,\n smiling ")
    (tmp_path / "b" / "2.txt").write_bytes(b"\xff\xfe\xfa")
    found = list_pictures(tmp_path)
    assert [(item.id, item.person, item.caption) for item in found] == [
        ("a/1", "a", "a person, smiling"),
        ("b/2", "b", None),
        ("b/deep/3", "b", ""),
        ("top", "top", ""),
    ]


def test_no_folder_a_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        list_pictures(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        list_pictures(tmp_path / "missing")
    fill(tmp_path, "a.png")
    with pytest.raises(DataError, match="is a file"):
        list_pictures(tmp_path / "a.png")


def test_the_digest_changes_with_file_caption_and_settings(tmp_path):
    fill(tmp_path, "a/1.png")
    before = digest_of(list_pictures(tmp_path), "settings")
    assert digest_of(list_pictures(tmp_path), "settings") == before
    assert digest_of(list_pictures(tmp_path), "other") != before
    (tmp_path / "a" / "1.txt").write_text("new")
    captioned = digest_of(list_pictures(tmp_path), "settings")
    assert captioned != before
    os.utime(tmp_path / "a" / "1.png", (1, 1))
    assert digest_of(list_pictures(tmp_path), "settings") != captioned


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((100, 100), (30, 30, 70, 70), (0, 0, 100)),
        ((200, 100), (150, 30, 190, 70), (100, 0, 100)),
        ((200, 100), (80, 30, 120, 70), (50, 0, 100)),
        ((100, 300), (30, 0, 70, 40), (0, 0, 100)),
    ],
)
def test_the_square_follows_the_face(size, box, expected):
    assert face_square(size, np.array(box, np.float32)) == expected


def test_a_face_wider_than_the_picture_is_high_is_refused():
    with pytest.raises(FaceError, match="does not fit into a 100 px square"):
        face_square((400, 100), np.array([50, 0, 350, 100], np.float32))


def test_points_move_with_the_square():
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[40:44, 150:154] = 255
    square = (100, 0, 100)
    cut = np.asarray(cut_square(Image.fromarray(picture), square, 50))
    x, y = move_points(np.array([152.0, 42.0]), square, 50)
    assert cut[int(y), int(x)].min() > 200
    assert cut.shape == (50, 50, 3)
