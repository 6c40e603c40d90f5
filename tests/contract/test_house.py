"""The rules of the house that a machine can hold: layers, sizes of files, what may be in the tree."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def relative(path):
    return str(path.relative_to(ROOT))


def test_the_layers_hold():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_source_file_has_more_than_300_lines():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_no_file_is_named_after_nothing():
    names = {"utils.py", "helpers.py", "misc.py", "common.py"}
    assert [relative(path) for path in SOURCES if path.name in names] == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"from __future__ import annotations",
        r"\btorch\.load\(",
        r"^\s*(import|from) pickle",
        r"^\s*from \.+\w* import",
    ],
)
def test_no_source_file_has(pattern):
    found = [relative(path) for path in SOURCES if re.search(pattern, path.read_text(), re.MULTILINE)]
    assert found == []


def test_every_package_says_what_it_is():
    packages = [path for path in SOURCES if path.name == "__init__.py"]
    assert [relative(path) for path in packages if not path.read_text().startswith('"""')] == []


def test_torch_is_pinned():
    pins = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^torch==\d+\.\d+\.\d+$", pins, re.MULTILINE)


def test_the_shipped_weights_are_small_and_no_pickles():
    files = [path for path in (ROOT / "weights").rglob("*") if path.is_file()]
    sizes = {relative(path): path.stat().st_size for path in files}
    assert {path: size for path, size in sizes.items() if size > 15e6} == {}
    assert sum(sizes.values()) < 40e6
    assert [path for path in sizes if path.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))] == []


@pytest.mark.skipif(os.name != "posix", reason="executable bits are POSIX")
def test_continuous_integration_runs_the_tests():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
