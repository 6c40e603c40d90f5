"""What importing costs and gives: no torch, every public name, the version of the package."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import emoji_adapter

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "diffusers", "transformers", "numpy", "cv2", "PIL", "insightface", "onnxruntime")


def loaded_after(statement):
    code = f"import sys\n{statement}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import emoji_adapter",
        "import emoji_adapter.cli",
        "import emoji_adapter.config",
        "import emoji_adapter.training.config",
    ],
)
def test_cheap_imports_stay_cheap(statement):
    assert loaded_after(statement) == []


def test_reading_pictures_and_aligning_faces_need_no_torch():
    loaded = loaded_after("from emoji_adapter import FaceAnalyzer, ExpressionCrop")
    assert "torch" not in loaded
    assert "insightface" not in loaded


@pytest.mark.parametrize("name", emoji_adapter.__all__)
def test_public_names_resolve(name):
    assert getattr(emoji_adapter, name) is not None
    assert name in dir(emoji_adapter)


def test_other_names_do_not():
    with pytest.raises(AttributeError, match="no attribute 'EmojiDiffPipe'"):
        emoji_adapter.EmojiDiffPipe  # noqa: B018


def test_all_errors_are_public():
    from emoji_adapter import errors

    ours = {name for name in vars(errors) if name.endswith("Error")}
    assert ours == {name for name in emoji_adapter.__all__ if name.endswith("Error")}
    for name in ours:
        assert issubclass(getattr(errors, name), errors.EmojiAdapterError)


def test_the_version_is_one():
    version = emoji_adapter.__version__
    assert importlib.metadata.version("emoji_adapter") == version
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
