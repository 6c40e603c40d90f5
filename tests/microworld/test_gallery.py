from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emoji_adapter.errors import InputError
from emoji_adapter.microworld import gallery as module
from emoji_adapter.microworld.gallery import Gallery, write_gallery
from emoji_adapter.renderer.vocabulary import STYLES


def test_people_are_folders_of_pictures_with_captions(tmp_path: Path) -> None:
    counted: list[int] = []
    write_gallery(Gallery(3, 2, "test", size=40), tmp_path / "people", advance=counted.append)
    files = sorted(str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*.*"))
    assert files[:4] == [f"people/person_00000/000{n}.{s}" for n in (0, 1) for s in ("png", "txt")]
    assert len(files) == 12
    assert sum(counted) == 6
    with Image.open(tmp_path / files[0]) as picture:
        assert (picture.mode, picture.size) == ("RGB", (40, 40))
    caption = (tmp_path / files[1]).read_text()
    assert any(style in caption for style in STYLES)


def test_pictures_of_a_person_share_only_the_person() -> None:
    parameters = Gallery(4, 3).parameters()
    identity = parameters.identity.reshape(4, 3, -1)
    assert (identity == identity[:, :1]).all()
    assert len(np.unique(parameters.pose[:, 0])) == len(np.unique(parameters.light[:, 0])) == 12


def test_takes_of_a_sitting_share_all_but_the_expression() -> None:
    gallery = Gallery(2, 3, takes=2)
    parameters = gallery.parameters()
    assert [gallery.stem(row) for row in (0, 1, 2, 11)] == [
        "person_00000/0000~0", "person_00000/0000~1", "person_00000/0001~0", "person_00001/0002~1",
    ]  # fmt: skip
    for name in ("identity", "pose", "light", "style", "background", "accessory", "variation"):
        takes = getattr(parameters, name)
        assert (takes[::2] == takes[1::2]).all()
    assert len(np.unique(parameters.pose[:, 0])) == 6
    assert (parameters.expression[::2] != parameters.expression[1::2]).any(1).all()


def test_an_occupied_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        write_gallery(Gallery(1, 1), tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_CHUNK", 2)
    with pytest.raises(KeyboardInterrupt):
        write_gallery(Gallery(2, 2, size=32), tmp_path / "people", advance=interrupt)
    assert list(tmp_path.iterdir()) == []
