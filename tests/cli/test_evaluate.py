import json
from pathlib import Path

import pytest
from PIL import Image

from emoji_adapter.cli import main


@pytest.mark.slow
def test_scores_and_report_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, report = tmp_path / "scores.json", tmp_path / "report.html"
    sizes = ["--identities", "2", "--expressions", "2", "--styles", "1", "--steps", "2", "--seed", "9"]
    assert main(["evaluate", *sizes, "--device", "cpu", "--json", str(scores), "--report", str(report)]) == 0
    assert "emoji adapter" in capsys.readouterr().out
    result = json.loads(scores.read_text())
    assert result["protocol"]["seed"] == 9
    names = [row["name"] for row in result["rows"]]
    assert names[-1] == "emoji adapter"
    assert {"plain", "words only", "oracle", "oracle through autoencoder"} <= set(names)
    assert "base64," in report.read_text()
    sheets = list(tmp_path.glob("report_*.png"))
    assert len(sheets) == 1
    with Image.open(sheets[0]) as sheet:
        assert sheet.height > 4 * 128


def test_outputs_are_checked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--json", str(tmp_path / "scores.txt")]) == 2
    assert "--json" in capsys.readouterr().err
    assert main(["evaluate", "--report", str(tmp_path)]) == 2
    assert "--report" in capsys.readouterr().err
    assert main(["evaluate", "--identities", "1"]) == 2
    assert "--identities" in capsys.readouterr().err
