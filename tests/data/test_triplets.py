"""Triplets to rows: the target's latents, the identity photo's person, the template's expression."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
import tiny_prepared
from emoji_adapter.checkpoints.format import load_adapter, save_adapter
from emoji_adapter.data.dataset import PreparedSet
from emoji_adapter.data.folder import SourcePicture, list_pictures
from emoji_adapter.data.idi.rounds import close_round, open_round, round_folder, write_attempts
from emoji_adapter.data.idi.synthesis import Attempted
from emoji_adapter.data.manifest import MANIFEST, REFUSALS, PictureRecord, Refusal, read_lines, read_meta
from emoji_adapter.data.prepare import PrepareConfig, prepare
from emoji_adapter.data.sources import list_training
from emoji_adapter.data.triplets import Measured, TripletRecord, list_triplets, triplet_folders
from emoji_adapter.data.turned import turn
from emoji_adapter.errors import DataError, InputError
from emoji_adapter.training.config import load_recipe
from emoji_adapter.training.loop import train
from planted_idi import CONFIG

ONE = dataclasses.replace(CONFIG, shards=1)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny.checkpoint(folder / "checkpoint")
    tiny_prepared.expression_encoder(folder / "encoder")
    return PrepareConfig(
        checkpoint=str(folder / "checkpoint"),
        expression_encoder=str(folder / "encoder"),
        detector_size=128,
        min_face=16,
    )


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Two drawn people, two pictures each."""
    from emoji_adapter.microworld.gallery import Gallery, write_gallery

    folder = tmp_path_factory.mktemp("gallery") / "pictures"
    write_gallery(Gallery(people=2, per_person=2, seed=11), folder)
    return folder


def attempt(place, person, pictures, template="t.png", **changes):
    record = TripletRecord(
        id=f"01-00000-{place:05d}", round=1, shard=0, identity="i.png", person=person, template=template,
        template_person="other", caption="green", seed=place, measured=Measured(faces=1), **changes,
    )  # fmt: skip
    names = ("target", "identity", "template")
    return Attempted(record, {n: np.asarray(p) for n, p in zip(names, pictures, strict=True)})


def write_round(out, gallery, attempts):
    folder = round_folder(out, ONE)
    open_round(folder, ONE, list_pictures(gallery), {})
    write_attempts(folder, 0, attempts, 4)
    close_round(folder, ONE)
    return folder


@pytest.fixture(scope="module")
def sets(gallery, config, tmp_path_factory):
    """Folder with `plain`, the gallery prepared, and `set`, triplets of it; one has no template face."""
    folder = tmp_path_factory.mktemp("sets")
    pictures = [Image.open(source.path).convert("RGB") for source in list_pictures(gallery)]
    nobody = Image.new("RGB", pictures[0].size, (90, 120, 200))
    attempts = [
        attempt(0, "a", [pictures[0], pictures[1], pictures[2]]),
        attempt(1, "a", [pictures[0], pictures[1], nobody]),
        attempt(2, "a", [pictures[1], pictures[0], pictures[3]], refused="leak"),
        attempt(3, "b", [pictures[3], pictures[2], pictures[0]]),
    ]
    write_round(folder / "idi", gallery, attempts)
    prepare(gallery, folder / "plain", config)
    prepare(folder / "idi", folder / "set", config)
    return folder


def test_a_row_holds_the_target_the_persons_photo_and_the_others_expression(sets):
    plain, meta = read_meta(sets / "plain"), read_meta(sets / "set")
    assert (plain.pictures, plain.alone) == (4, 0)
    assert (meta.pictures, meta.refused, meta.persons, meta.alone) == (2, 1, 2, 0)
    (refusal,) = read_lines(sets / "set" / REFUSALS, Refusal)
    assert refusal.file == "round_1/shard-00000.tar/01-00000-00001"
    assert refusal.reason.startswith("NoFaceError")
    rows, single = PreparedSet.load(sets / "set"), PreparedSet.load(sets / "plain")
    for row, (target, photo, template) in enumerate([(0, 1, 2), (3, 2, 0)]):
        assert torch.equal(rows.latents[row], single.latents[target])
        assert torch.equal(rows.identity[row], single.identity[photo])
        assert torch.equal(rows.crops[row], single.crops[template])
        assert torch.equal(rows.blendshapes[row], single.blendshapes[template])
    records = read_lines(sets / "set" / MANIFEST, PictureRecord)
    assert [record.person for record in records] == ["a", "b"]
    assert records[0].caption == "green"
    expected = read_lines(sets / "plain" / MANIFEST, PictureRecord)[0]
    assert (records[0].landmarks, records[0].box) == (expected.landmarks, expected.box)
    drawn = rows.sample(8, torch.Generator().manual_seed(0))
    assert {tuple(r.tolist()) for r in drawn.identity} == {tuple(r.tolist()) for r in rows.identity}


def test_turned_round_the_portrait_is_the_target_and_the_drawing_the_template_too(
    sets, gallery, config, tmp_path
):
    portraits = list_pictures(gallery)
    pictures = [Image.open(source.path).convert("RGB") for source in portraits]
    here = attempt(0, "a", [pictures[0], pictures[1], pictures[2]], template=portraits[2].file)
    write_round(tmp_path / "idi", gallery, [here])
    meta = prepare(tmp_path / "idi", tmp_path / "set", dataclasses.replace(config, turned=gallery))
    assert (meta.pictures, meta.alone) == (2, 0)
    rows, single = PreparedSet.load(tmp_path / "set"), PreparedSet.load(sets / "plain")
    for row, (target, photo, template) in enumerate([(0, 1, 2), (2, 3, 0)]):
        assert torch.equal(rows.latents[row], single.latents[target])
        assert torch.equal(rows.identity[row], single.identity[photo])
        assert torch.equal(rows.crops[row], single.crops[template])
    drawn, portrait = read_lines(tmp_path / "set" / MANIFEST, PictureRecord)
    assert (drawn.person, drawn.caption) == ("a", "green")
    assert (portrait.person, portrait.caption) == (portraits[2].person, portraits[2].caption)


def test_triplets_are_turned_round_with_their_own_portraits(sets, gallery):
    with pytest.raises(DataError, match=r"made from t\.png, which is not among the 4 portraits"):
        list_training(sets / "idi", gallery)
    with pytest.raises(InputError, match="no triplets that could be turned round"):
        list_training(gallery, gallery)


def test_the_photo_is_of_another_sitting_where_there_is_one(sets, gallery):
    (triplet, *_) = list_triplets(triplet_folders(sets / "idi"))

    def turned(*files):
        portraits = [SourcePicture(gallery, file, file.split("/")[0], "") for file in files]
        made = dataclasses.replace(triplet, record=dataclasses.replace(triplet.record, template=files[0]))
        return turn([made], portraits)[0].identity.file

    assert turned("a/1~0.png", "a/1~1.png", "a/2~0.png", "b/3.png") == "a/2~0.png"
    assert turned("a/1~0.png", "a/1~1.png", "b/3.png") == "a/1~1.png"
    assert turned("a/1~0.png", "b/3.png") == "a/1~0.png"


def test_the_expression_stage_trains_on_them(sets, config, tmp_path):
    adapter = tiny.adapter(
        tiny.unet(), identity_encoder="micro", expression_encoder="tiny",
        expression_crop=tiny_prepared.CROP.to_dict(),
    )  # fmt: skip
    save_adapter(adapter, tmp_path / "start")
    recipe = load_recipe(
        "micro_idi_cpu",
        ["steps=2", "batch=2", "preview_every=0", "warmup=1", "ema=0.0", "learning_rate=0.05"],
    )
    settings = dataclasses.replace(
        recipe, checkpoint=config.checkpoint, expression_encoder=config.expression_encoder,
        start=str(tmp_path / "start"),
    )  # fmt: skip
    trained = load_adapter(train(settings, sets / "set", tmp_path / "run", device="cpu"))
    before, after = adapter.state_dict(), trained.state_dict()
    moved = {name: (before[name] - after[name].float()).abs().max() for name in before}
    assert max(moved.values()) > 0.01
    assert max(moved[name] for name in moved if "identity" in name) < 1e-3  # rounded to float16, no more


def test_a_round_that_kept_nothing_is_told(gallery, tmp_path):
    folder = write_round(tmp_path, gallery, [])
    with pytest.raises(DataError, match=r"no triplet was kept.*report\.html"):
        list_triplets(triplet_folders(folder))


def test_other_samples_are_no_triplets(gallery, tmp_path):
    from emoji_adapter.data.archive import write_samples

    folder = write_round(tmp_path, gallery, [])
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    write_samples(folder / "shard-00001.tar", [("x", {"png": buffer.getvalue(), "json": b"{}"})])
    with pytest.raises(DataError, match=r"the sample x, which is no triplet"):
        list_triplets([folder])
