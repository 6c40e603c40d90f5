"""Preparing a folder: order, refusals, resumption; and the whole road on the packaged weights."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
import tiny_prepared
from emoji_adapter.data import prepare as module
from emoji_adapter.data.dataset import PreparedSet
from emoji_adapter.data.examine import Examined
from emoji_adapter.data.manifest import META, REFUSALS, Refusal, read_lines, read_meta
from emoji_adapter.data.prepare import PrepareConfig, prepare
from emoji_adapter.data.shards import shard_path
from emoji_adapter.errors import DataError, ImageError, InputError
from emoji_adapter.faces.images import load_image


class Looker:
    """Stands where faces are looked for: any readable picture will do, and what was looked at is noted."""

    def __init__(self, break_after=None):
        self.seen = []
        self.break_after = break_after

    @contextmanager
    def __call__(self, settings, workers):
        self.second = settings.second_recogniser
        yield lambda sources: map(self.examine, sources)

    def examine(self, source):
        if len(self.seen) == self.break_after:
            raise KeyboardInterrupt
        self.seen.append(source.file)
        try:
            image = load_image(source.path)
        except ImageError as error:
            return Refusal(source.file, str(error))
        return Examined(
            record=tiny_prepared.record(len(source.file), source.person),
            pixels=np.asarray(image.resize((16, 16))),
            identity=np.full(512, 512**-0.5, np.float32),
            crop=np.asarray(image.resize((tiny_prepared.SIZE,) * 2)),
            blendshapes=np.zeros(52, np.float32),
            second_identity=None if self.second is None else np.eye(512, dtype=np.float32)[len(self.seen)],
        )


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny.checkpoint(folder / "checkpoint")
    tiny_prepared.expression_encoder(folder / "encoder")
    return PrepareConfig(
        checkpoint=str(folder / "checkpoint"), expression_encoder=str(folder / "encoder"), shard_size=2
    )


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("a/1", "a/2", "b/1", "b/2", "c/1"):
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    (tmp_path / "pictures" / "b" / "0.png").write_bytes(b"")
    return tmp_path / "pictures"


def look(monkeypatch, **options):
    looker = Looker(**options)
    monkeypatch.setattr(module, "examiners", looker)
    return looker


def files(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_rows_come_in_the_order_of_paths_and_refusals_have_reasons(folder, config, tmp_path, monkeypatch):
    looker = look(monkeypatch)
    meta = prepare(folder, tmp_path / "out", config)
    assert looker.seen == ["a/1.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png", "c/1.png"]
    assert (meta.pictures, meta.refused, meta.persons, meta.alone, meta.shards) == (5, 1, 3, 1, 3)
    (refusal,) = read_lines(tmp_path / "out" / REFUSALS, Refusal)
    assert refusal.file == "b/0.png"
    assert "is empty (0 bytes)" in refusal.reason
    data = PreparedSet.load(tmp_path / "out")
    assert data.latents.shape == (5, 4, 8, 8)
    assert data.crops.shape == (5, 28, 28, 3)


def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_the_same(folder, config, tmp_path, monkeypatch):
    look(monkeypatch)
    prepare(folder, tmp_path / "undisturbed", config)
    look(monkeypatch, break_after=5)
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, tmp_path / "out", config)
    with pytest.raises(DataError, match="not a complete prepared set"):
        read_meta(tmp_path / "out")
    (tmp_path / "out" / "shard-00002.partial").write_bytes(b"half")
    looker = look(monkeypatch)
    prepare(folder, tmp_path / "out", config)
    assert looker.seen == ["b/2.png", "c/1.png"]
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")


def test_a_finished_set_is_not_made_again_and_a_changed_folder_only_where_it_changed(
    folder, config, tmp_path, monkeypatch
):
    look(monkeypatch)
    prepare(folder, tmp_path / "out", config)
    looker = look(monkeypatch)
    prepare(folder, tmp_path / "out", config)
    assert looker.seen == []
    (folder / "c" / "1.txt").write_text("a caption")
    prepare(folder, tmp_path / "out", config)
    assert looker.seen == ["b/2.png", "c/1.png"]
    (folder / "c" / "1.png").unlink()
    (folder / "b" / "2.png").unlink()
    meta = prepare(folder, tmp_path / "out", config)
    assert meta.pictures == 3
    assert not shard_path(tmp_path / "out", 2).exists()


def test_other_settings_make_everything_again(folder, config, tmp_path, monkeypatch):
    import dataclasses

    look(monkeypatch)
    prepare(folder, tmp_path / "out", config)
    looker = look(monkeypatch)
    prepare(folder, tmp_path / "out", dataclasses.replace(config, min_face=64))
    assert len(looker.seen) == 6


def test_a_second_recognisers_embeddings_are_stored_beside_the_first(folder, config, tmp_path, monkeypatch):
    import dataclasses

    look(monkeypatch)
    prepare(folder, tmp_path / "out", config)
    assert "second_recogniser" not in json.loads((tmp_path / "out" / META).read_text())
    assert PreparedSet.load(tmp_path / "out").second_identity is None
    looker = look(monkeypatch)
    prepare(folder, tmp_path / "out", dataclasses.replace(config, second_recogniser="micro"))
    assert len(looker.seen) == 6
    data = PreparedSet.load(tmp_path / "out").to("cpu")
    assert data.meta.second_recogniser == "micro"
    assert data.second_identity is not None
    assert data.second_identity.argmax(1).tolist() == [1, 2, 4, 5, 6]
    rows = data.rows(torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert rows.told_identity.shape == (2, 1024)
    assert torch.equal(rows.told_identity[:, 512:], data.second_identity[[1, 0]])
    assert torch.equal(rows.told_identity[:, :512], rows.identity)
    assert rows.at(torch.tensor([1])).told_identity.shape == (1, 1024)
    assert torch.equal(rows.to("cpu").told_identity, rows.told_identity)


def test_sets_without_a_second_recogniser_are_made_as_before(folder, config, tmp_path, monkeypatch):
    """The digest of a shard, of its pictures and settings, does not know that there might be one."""
    from emoji_adapter.config import to_mapping
    from emoji_adapter.data.folder import digest_of, list_pictures
    from emoji_adapter.data.shards import shard_digest

    look(monkeypatch)
    models = module.PrepareModels.load(config)
    prepare(folder, tmp_path / "out", config)
    meta = {k: v for k, v in to_mapping(models.meta).items() if k != "second_recogniser"}
    settings = json.dumps([meta, config.min_face, config.detector_size], sort_keys=True)
    assert shard_digest(shard_path(tmp_path / "out", 0)) == digest_of(
        list(list_pictures(folder))[:2], settings
    )


def test_the_packs_own_recogniser_is_no_second_one(face_pack):
    from emoji_adapter.config import packaged_part
    from emoji_adapter.data.examine import Examiner, ExamineSettings
    from emoji_adapter.faces.crop import ExpressionCrop

    rec = str(packaged_part("faces/rec.onnx"))
    examiner = Examiner(ExamineSettings("micro", "micro", ExpressionCrop(), 64, 16, second_recogniser=rec))
    with pytest.raises(InputError, match=r"is that of the face pack 'micro'.*Name another one"):
        examiner.warm_up()


def test_a_folder_without_a_usable_picture_is_refused_with_the_first_reason(config, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"no picture")
    look(monkeypatch)
    with pytest.raises(DataError, match=r"None of the 1 pictures can be used.*a\.png: .*is not a picture"):
        prepare(tmp_path / "pictures", tmp_path / "out", config)
    assert not (tmp_path / "out" / META).exists()


@pytest.fixture(scope="module")
def gallery(face_pack, tmp_path_factory):
    """Drawn people, and files of every kind that cannot be used."""
    from emoji_adapter.microworld.gallery import Gallery, write_gallery

    folder = tmp_path_factory.mktemp("gallery") / "pictures"
    write_gallery(Gallery(people=3, per_person=2, seed=11), folder)
    person = next(path for path in sorted(folder.iterdir()) if path.is_dir())
    good = sorted(person.glob("*.png"))[0]
    (person / "empty.png").write_bytes(b"")
    (person / "cut.png").write_bytes(good.read_bytes()[:400])
    (person / "text.jpg").write_text("not a picture")
    Image.new("RGB", (128, 128), (90, 120, 200)).save(person / "nobody.png")
    Image.open(good).resize((24, 24)).save(person / "tiny.png")
    double = Image.new("RGB", (300, 160), (127, 127, 127))
    double.paste(Image.open(good), (8, 16))
    double.paste(Image.open(good), (164, 16))
    double.save(person / "two.png")
    (person / "caption.png").write_bytes(good.read_bytes())
    (person / "caption.txt").write_bytes(b"\xff\xfe\xfa")
    return folder


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_drawn_people_are_prepared_by_the_packaged_models(gallery, tmp_path, workers):
    meta = prepare(gallery, tmp_path / "set", PrepareConfig(workers=workers))
    reasons = {
        refusal.file.split("/")[-1]: refusal.reason.split(":")[0]
        for refusal in read_lines(tmp_path / "set" / REFUSALS, Refusal)
    }
    assert reasons.pop("tiny.png") in ("FaceTooSmallError", "NoFaceError")
    assert reasons == {
        "empty.png": "ImageError",
        "cut.png": "ImageError",
        "text.jpg": "ImageError",
        "nobody.png": "NoFaceError",
        "two.png": "SeveralFacesError",
        "caption.png": "InputError",
    }
    assert (meta.pictures, meta.persons, meta.alone) == (6, 3, 0)
    data = PreparedSet.load(tmp_path / "set")
    torch.testing.assert_close(data.identity.float().norm(dim=1), torch.ones(6), atol=1e-2, rtol=0)
    assert data.blendshapes.min() >= 0
    assert data.blendshapes.max() <= 1
    same, other = (data.identity[0] @ data.identity[i].float().half() for i in (1, 2))
    assert same > other
    assert json.loads((tmp_path / "set" / META).read_text())["identity_encoder"] == "micro"
