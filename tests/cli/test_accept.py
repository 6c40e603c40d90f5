"""`emoji-adapter accept` with the packaged models and drawn pictures standing in for photographs."""

import json

import pytest

from emoji_adapter.cli import main
from emoji_adapter.cli.accept import PROMPTS, parse_prompts
from emoji_adapter.config import packaged_part
from emoji_adapter.errors import InputError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from emoji_adapter.microworld.gallery import Gallery, write_gallery

    root = tmp_path_factory.mktemp("accept")
    write_gallery(Gallery(people=2, per_person=1, seed=4, split="test", size=128), root / "people")
    write_gallery(Gallery(people=2, per_person=1, seed=5, split="test", size=128), root / "templates")
    return root


def accept(folders, *words):
    given = ["--people", folders / "people", "--templates", folders / "templates"]
    given += ["--checkpoint", "micro", "--adapter", "micro", "--device", "cpu", *words]
    return main(["accept", *map(str, given)])


def test_prompts_are_read_or_there_are_three():
    assert parse_prompts(["anime=a = b", "photo=c"]) == {"anime": "a = b", "photo": "c"}
    assert parse_prompts([]) == PROMPTS
    for bad in (["anime"], ["=a"], ["a=b", "a=c"]):
        with pytest.raises(InputError, match="--prompt must read STYLE=TEXT"):
            parse_prompts(bad)


def test_the_adapters_own_recogniser_is_refused_in_one_line(folders, capsys):
    assert accept(folders, "--judge", "micro") == 2
    assert "Judge with another pack" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.slow
def test_scores_of_photographs_without_perfect_answers(folders, tmp_path, capsys):
    words = [
        "--judge",
        packaged_part("recognizer_2/rec.onnx"),
        "--steps",
        2,
        "--prompt",
        "photo=a photo portrait",
    ]
    words += ["--swapper", packaged_part("swapper/swapper.onnx"), "--keep", tmp_path / "kept"]
    words += ["--json", tmp_path / "a.json", "--report", tmp_path / "a.html"]
    assert accept(folders, *words) == 0
    said = capsys.readouterr().err
    assert "Exp, LMS is left out: give --landmarker" in said
    assert "CLIP-T is left out" in said
    result = json.loads((tmp_path / "a.json").read_text())
    assert [row["name"] for row in result["rows"]] == [
        "plain",
        "identity only",
        "expression only",
        "generate-then-swap",
        "emoji adapter",
    ]
    last = result["rows"][-1]
    assert last["n"] == 4
    assert last["versus"]["row"] == "generate-then-swap"
    assert set(last["id"]) == {"mean", "ci95"}
    assert set(last["leak"]) == {"mean", "ci95"}
    assert not {"exp", "style", "skin_leak", "by_template", "by_prompt"} & last.keys()
    assert "leak" not in result["rows"][1]
    assert set(result["protocol"]["left_out"]) == {"Style, skin leak, pose", "Exp, LMS", "CLIP-T"}
    assert "base64," in (tmp_path / "a.html").read_text()
    assert len(list((tmp_path / "kept").iterdir())) == 5 + 1
