"""diffusers' own tests on our classes; they need a checkout of its repository (docs/acceptance.md)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("EMOJI_ADAPTER_DIFFUSERS", "")
SRC = Path(__file__).parents[2] / "src"
REASONS = ("accelerator", "CUDA", "We test this functionality elsewhere already")
"""One of these is in the reason of every test that may skip: no accelerator, or diffusers runs it nowhere."""


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOUT, reason="EMOJI_ADAPTER_DIFFUSERS names no checkout of diffusers")
@pytest.mark.parametrize(
    ("classes", "least"),
    [
        ("TestSD or TestAttachedSD", 110),
        ("TestXL or TestAttachedXL", 160),
    ],
)
def test_diffusers_own_tests_pass(classes, least, tmp_path):
    shutil.copytree(Path(CHECKOUT) / "tests", tmp_path / "tests")
    outside = tmp_path / "tests" / "outside"
    outside.mkdir()
    (outside / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("outside.py"), outside / "test_emoji.py")
    # The tests lie in a folder of their own, so that neither our settings nor the checkout's sources count.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    paths = [str(SRC), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "RUN_SLOW": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rfEs", str(outside), "-k", classes]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    (tmp_path / "log.txt").write_text(result.stdout)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) >= least
    skipped = re.findall(r"^SKIPPED \[\d+\] (.+)$", result.stdout, re.MULTILINE)
    assert [reason for reason in skipped if not any(word in reason for word in REASONS)] == []
