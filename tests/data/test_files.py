"""The files of a prepared set: whole or not at all, refused in words when damaged."""

import json

import pytest
import torch

import tiny_prepared
from emoji_adapter.data.manifest import (
    MANIFEST,
    META,
    PictureRecord,
    Refusal,
    read_lines,
    read_meta,
    write_lines,
)
from emoji_adapter.data.shards import (
    Shard,
    empty_tensors,
    read_records,
    read_tensors,
    shard_digest,
    shard_path,
    write_shard,
)
from emoji_adapter.errors import DataError


def shard():
    tensors = empty_tensors((4, 8, 8), 28)
    tensors["latents"] = torch.randn(2, 4, 8, 8).half()
    tensors["identity"] = torch.randn(2, 512).half()
    tensors["crops"] = torch.randint(0, 256, (2, 28, 28, 3), dtype=torch.uint8)
    tensors["blendshapes"] = torch.rand(2, 52).half()
    records = [tiny_prepared.record(0, "a"), tiny_prepared.record(1, "b")]
    return Shard(records=records, refusals=[Refusal("c.png", "no face")], digest="d", **tensors)


def test_a_shard_comes_back_as_it_was(tmp_path):
    written = shard()
    write_shard(tmp_path, 3, written)
    path = shard_path(tmp_path, 3)
    assert [item.name for item in tmp_path.iterdir()] == ["shard-00003.safetensors"]
    assert shard_digest(path) == "d"
    assert read_records(path) == (written.records, written.refusals)
    for name, tensor in read_tensors(path).items():
        assert torch.equal(tensor, getattr(written, name))


def test_a_missing_or_damaged_shard_has_no_digest_and_is_refused(tmp_path):
    path = shard_path(tmp_path, 0)
    assert shard_digest(path) is None
    write_shard(tmp_path, 0, shard())
    path.write_bytes(path.read_bytes()[:100])
    assert shard_digest(path) is None
    with pytest.raises(DataError, match=r"missing or damaged.*prepare"):
        read_tensors(path)


def test_manifest_lines_come_back_as_they_were(tmp_path):
    records = [tiny_prepared.record(i, "ä") for i in range(3)]
    write_lines(tmp_path / MANIFEST, records)
    assert read_lines(tmp_path / MANIFEST, PictureRecord) == records
    (tmp_path / MANIFEST).write_text('{"id": "a"}\n')
    with pytest.raises(DataError, match=r"manifest.jsonl is damaged: manifest.jsonl:1 lacks file"):
        read_lines(tmp_path / MANIFEST, PictureRecord)


def test_meta_that_is_missing_damaged_or_later_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a complete prepared set"):
        read_meta(tmp_path)
    folder = tiny_prepared.prepared(tmp_path)
    content = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(content | {"format_version": 99}))
    with pytest.raises(DataError, match="format version 99, this package reads 1"):
        read_meta(folder)
    (folder / META).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_meta(folder)
