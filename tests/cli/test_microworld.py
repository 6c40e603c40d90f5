import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emoji_adapter.cli import main


def test_render_makes_a_folder_of_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "people"
    words = ["--people", "2", "--per-person", "2", "--size", "40", "--device", "cpu", "--split", "test"]
    assert main(["microworld", "render", "--out", str(out), *words]) == 0
    assert capsys.readouterr().out == f"4 pictures of 2 people in {out}\n"
    assert len(list(out.glob("person_*/*.png"))) == len(list(out.glob("person_*/*.txt"))) == 4


def test_render_refuses_an_occupied_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").touch()
    assert main(["microworld", "render", "--out", str(tmp_path), "--people", "1"]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = (  # a shell may have the signal ignored
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from emoji_adapter.cli import main; sys.exit(main())"
    )
    words = ["microworld", "render", "--people", "5000", "--device", "cpu", "--out", str(tmp_path / "people")]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "Interrupted" in said
    assert list(tmp_path.iterdir()) == []
