"""Portraits from archives, saved data sets and image folders; samples written and read."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from emoji_adapter.data.archive import read_json, read_samples, write_samples
from emoji_adapter.data.sources import list_portraits
from emoji_adapter.errors import DataError
from emoji_adapter.faces.images import load_image


def png(red=0):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def red_of(picture):
    return np.asarray(load_image(picture.content()))[0, 0, 0]


def test_samples_come_back_and_are_the_same_bytes_twice(tmp_path):
    samples = [("a/0.x", {"png": png(1)}), ("b", {"target.png": png(2), "json": b'{"n": 1}'})]
    write_samples(tmp_path / "one.tar", samples[1:])
    write_samples(tmp_path / "two.tar", samples[1:])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    ((key, sample),) = read_samples(tmp_path / "one.tar")
    assert (key, list(sample)) == ("b", ["target.png", "json"])
    assert sample["target.png"].read() == png(2)
    assert read_json(sample["json"]) == {"n": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tar", "two.tar"]


def test_a_failure_leaves_no_archive(tmp_path):
    def samples():
        yield "a", {"png": png()}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / "x.tar", samples())
    assert list(tmp_path.iterdir()) == []


def test_portraits_of_archives_with_captions_and_people_of_all_kinds(tmp_path):
    write_samples(
        tmp_path / "0.tar",
        [
            ("ann/0", {"png": png(1), "txt": b"a  photo\n"}),
            ("ann/1", {"jpg": png(2), "json": b'{"caption": "b"}'}),
            ("x", {"png": png(3), "json": b'{"person": "bob", "text": "c"}'}),
            ("y", {"txt": b"no picture"}),
        ],
    )
    write_samples(tmp_path / "1.tar", [("y", {"PNG": png(4), "txt": b"\xff"})])
    found = list_portraits(tmp_path)
    assert [(p.person, p.caption, red_of(p)) for p in found] == [
        ("ann", "a photo", 1), ("ann", "b", 2), ("bob", "c", 3), ("y", None, 4)
    ]  # fmt: skip
    assert len({p.file for p in found}) == 4
    assert len(list_portraits(tmp_path / "0.tar")) == 3


@pytest.mark.parametrize("content", [b"", b"no tar" * 200])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar.*(cannot be read|no sample holds a picture)"):
        list_portraits(tmp_path)


def test_a_compressed_archive_is_refused_in_words(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(DataError, match="uncompressed"):
        list_portraits(tmp_path)


def test_an_archive_that_was_cut_is_told_when_read(tmp_path):
    write_samples(tmp_path / "a.tar", [("a", {"png": png()})])
    (portrait,) = list_portraits(tmp_path)
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[:540])
    with pytest.raises(DataError, match="cut short"):
        portrait.content()


def test_captions_of_an_image_folder(tmp_path):
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    (tmp_path / "a" / "1.txt").write_text("sidecar")
    lines = [{"file_name": "a/0.png", "text": "zero"}, {"file_name": "a/1.png", "text": "one"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "b" / "metadata.csv").write_text('file_name,caption\n0.png,"two, and more"\n')
    assert [p.caption for p in list_portraits(tmp_path)] == ["zero", "sidecar", "two, and more"]
    (tmp_path / "metadata.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"metadata\.jsonl cannot be read"):
        list_portraits(tmp_path)


def test_a_saved_data_set(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"image": [Image.new("RGB", (4, 4), (n, 0, 0)) for n in range(3)], "person": ["a", "b", "a"]}
    features = datasets.Features({"image": datasets.Image(), "person": datasets.Value("string")})
    data = datasets.Dataset.from_dict(rows, features=features)
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data}).save_to_disk(tmp_path / "dict")
    for name in ("one", "dict"):
        found = list_portraits(tmp_path / name)
        assert [(p.person, p.caption, red_of(p)) for p in found] == [("a", "", 0), ("b", "", 1), ("a", "", 2)]
    data.remove_columns("image").save_to_disk(tmp_path / "words")
    with pytest.raises(DataError, match="no column of pictures"):
        list_portraits(tmp_path / "words")
