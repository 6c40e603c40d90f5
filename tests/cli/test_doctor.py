import hashlib
import json
from pathlib import Path

import pytest

from emoji_adapter.cli import main
from emoji_adapter.cli.doctor import PARTS, face_packs, lone_networks, providers, weights
from emoji_adapter.config import WEIGHTS_VARIABLE
from emoji_adapter.faces.packs import PHOTO_PACKS, PhotoPack


def test_missing_weights_are_named_with_the_command_that_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    found = weights()
    assert [f.good for f in found] == [False] * (1 + len(PARTS))
    assert all("emoji-adapter microworld build" in f.advice for f in found)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "face detector" in printed.out


def test_found_weights_tell_their_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in PARTS:
        file = tmp_path / "micro" / part
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "micro" / "card.json").write_text(json.dumps({"licence": "Apache-2.0", "recipe": "gpu"}))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    found = weights()
    assert all(f.good for f in found)
    assert found[0].state == "licence Apache-2.0, recipe gpu"


def test_a_damaged_card_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "micro").mkdir()
    (tmp_path / "micro" / "card.json").write_text("{")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    assert "not JSON" in weights()[0].state


def test_packs_for_photographs_are_looked_up_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".insightface" / "models" / "buffalo_l" / "buffalo_l"  # as antelopev2 unzips
    folder.mkdir(parents=True)
    (folder / "w600k_r50.onnx").touch()
    have, lack = face_packs()
    assert have.good
    assert have.state == f"{folder}, non-commercial research only"
    assert not lack.good
    assert "non-commercial" in lack.state
    assert "FaceAnalyzer('antelopev2')" in lack.advice


def test_own_packs_are_listed_with_their_licence_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("mine", "yours"):
        folder = tmp_path / ".insightface" / "models" / name
        folder.mkdir(parents=True)
        (folder / "rec.onnx").touch()
    (tmp_path / ".insightface" / "models" / "mine" / "LICENSE").touch()
    mine, yours = face_packs()[2:]
    assert (mine.what, yours.what) == ("own face pack mine", "own face pack yours")
    assert mine.state.endswith("mine/LICENSE")
    assert "no LICENSE file" in yours.state


def test_swappers_and_second_recognisers_are_listed_with_their_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lone_networks() == []
    (tmp_path / ".insightface" / "models").mkdir(parents=True)
    for name in ("inswapper_128", "mine", "renamed"):
        (tmp_path / ".insightface" / "models" / f"{name}.onnx").write_text(name)
    known = PhotoPack("antelopev2", hashlib.sha256(b"renamed").hexdigest(), 361)
    monkeypatch.setitem(PHOTO_PACKS, "antelopev2", known)
    swapper, mine, renamed = lone_networks()
    assert swapper.what == "face network inswapper_128.onnx"
    assert swapper.state.endswith("licence: non-commercial research only (insightface)")
    assert mine.state.endswith("licence: its authors' own: ask them")
    assert renamed.state.endswith("licence: non-commercial research only (insightface)")


def test_where_face_networks_run_is_told() -> None:
    (found,) = providers()
    assert found.state.startswith("run on ")
    assert "CPU" in found.state


def test_the_packaged_weights_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "microworld build" not in capsys.readouterr().out
