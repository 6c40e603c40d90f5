import json
from pathlib import Path

import pytest

from emoji_adapter.cli import main
from emoji_adapter.cli.doctor import PARTS, photo_packs, weights
from emoji_adapter.config import WEIGHTS_VARIABLE


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
    folder = tmp_path / ".insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "w600k_r50.onnx").touch()
    have, lack = photo_packs()
    assert have.good
    assert "non-commercial" in have.state
    assert not lack.good
    assert "FaceAnalysis('antelopev2')" in lack.advice


def test_the_packaged_weights_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "microworld build" not in capsys.readouterr().out
