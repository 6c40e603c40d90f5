"""The built wheel carries the micro weights and generates from them, away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_holds_every_weight_and_nothing_else_of_the_checkout(installed):
    shipped = ROOT / "weights" / "micro"
    expected = {path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()}
    carried = installed / "emoji_adapter" / "weights" / "micro"
    assert {path.relative_to(carried) for path in carried.rglob("*") if path.is_file()} == expected
    assert expected
    assert (installed / "emoji_adapter" / "py.typed").is_file()
    assert [path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")] == [
        "emoji_adapter"
    ]


def test_it_generates_from_micro_elsewhere_and_offline(installed, tmp_path):
    assets = ROOT / "examples" / "assets"
    environment = os.environ | {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import emoji_adapter; print(emoji_adapter.__file__)"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(installed)
    command = [
        sys.executable,
        "-m",
        "emoji_adapter",
        "generate",
        "--prompt",
        "a photo portrait, blue background",
    ]
    command += [
        "--identity",
        str(assets / "identity_1.png"),
        "--expression",
        str(assets / "expression_1.png"),
    ]
    result = subprocess.run(
        [*command, "--out", "portrait.png"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".png"]
