"""`emoji-adapter idi`: exit codes, messages, a round of a tiny model, and one of the packaged models."""

import json
from pathlib import Path

import pytest
from PIL import Image

import planted_idi
import tiny
import tiny_prepared
from emoji_adapter.checkpoints.format import save_adapter
from emoji_adapter.cli import main
from emoji_adapter.cli.idi import parse_part
from emoji_adapter.errors import InputError


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    from emoji_adapter.microworld.gallery import Gallery, write_gallery

    folder = tmp_path_factory.mktemp("gallery") / "pictures"
    write_gallery(Gallery(people=3, per_person=1, seed=11), folder)
    return folder


def idi(*words):
    return main(["idi", *map(str, words), "--device", "cpu", "--workers", "0"])


def test_a_round_of_a_tiny_model_that_draws_no_faces(gallery, tmp_path, capsys):
    encoder = tiny_prepared.expression_encoder(tmp_path / "encoder")
    adapter = tiny.adapter(
        tiny.unet(),
        identity_encoder="micro",
        expression_encoder=str(encoder),
        expression_crop=tiny_prepared.CROP.to_dict(),
    )
    save_adapter(adapter, tmp_path / "adapter")
    settings = ["shard_size=3", f"checkpoint={tiny.checkpoint(tmp_path / 'checkpoint')}", "steps=2"]
    words = [gallery, "--out", tmp_path / "out", "--adapter", tmp_path / "adapter", "--shards", "1"]
    words += [word for setting in settings for word in ("--set", setting)]
    assert idi(*words) == 0
    printed = capsys.readouterr().out
    assert "0 triplets of 3 attempts" in printed
    assert "source: 3 of 3 passed" in printed
    assert "faces: 0 of 3 passed" in printed
    (rates,) = json.loads((tmp_path / "out" / "rates.json").read_text())
    assert rates["filters"][1]["rate"] == 0
    assert "one is needed" in (tmp_path / "out" / "report.html").read_text()
    assert idi(*words) == 0
    assert idi(*words, "--seed", "5") == 2
    assert "begun with other seed" in capsys.readouterr().err
    assert main(["prepare", str(tmp_path / "out"), "--out", str(tmp_path / "set")]) == 2
    assert "no triplet was kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "tresholds.leak=1"], "unknown key 'tresholds'. Did you mean 'thresholds'?"),
        (["--recipe", "nothing"], "There is no recipe 'nothing'. Packaged: micro"),
        (["--part", "3/2"], "--part must read I/N"),
        (["--adapter", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(tmp_path, capsys, words, message):
    source = planted_idi.portraits(tmp_path / "source")
    assert idi(source, "--out", tmp_path / "out", *words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("Error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_portraits_of_one_person_are_refused(tmp_path, capsys):
    path = tmp_path / "source" / "a" / "0.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(path)
    assert idi(tmp_path / "source", "--out", tmp_path / "out") == 2
    assert "two people or more, got 1" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/x", "-1/2", "1/2/3"])
def test_parts_that_are_none(text):
    assert parse_part("2/4") == (1, 4)
    with pytest.raises(InputError, match="--part must read I/N"):
        parse_part(text)


@pytest.mark.slow
def test_triplets_of_the_packaged_models_are_prepared(gallery: Path, tmp_path):
    loose = {"identity": -1, "leak": 1, "expression": 1, "cycle": 1}
    settings = ["shard_size=8", "steps=15", *(f"thresholds.{name}={value}" for name, value in loose.items())]
    words = [word for setting in settings for word in ("--set", setting)]
    assert idi(gallery, "--out", tmp_path / "out", "--shards", 1, *words) == 0
    (rates,) = json.loads((tmp_path / "out" / "rates.json").read_text())
    assert rates["kept"] >= 2
    assert set(rates["means"]) == set(loose)
    assert main(["prepare", str(tmp_path / "out"), "--out", str(tmp_path / "set"), "--device", "cpu"]) == 0
