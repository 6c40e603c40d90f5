"""The examples and the README's own lines run as they stand, and make what they promise."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emoji_adapter.config import GUIDANCE

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "01_text_to_portrait.py": ["out/01_text_to_portrait.png"],
    "02_scales.py": ["out/02_scales.png"],
    "03_batch_of_people.py": ["out/03_person_1.png", "out/03_person_2.png"],
}


def run(folder: Path, *command: str) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_example_is_listed() -> None:
    assert {path.name for path in (ROOT / "examples").glob("[0-9]*.py")} == set(EXAMPLES)


@pytest.mark.parametrize(
    "name", [n if n.startswith("01") else pytest.param(n, marks=pytest.mark.slow) for n in EXAMPLES]
)
def test_example_runs(name: str, tmp_path: Path) -> None:
    run(tmp_path, str(ROOT / "examples" / name))
    for file in EXAMPLES[name]:
        assert (
            np.ptp(np.asarray(Image.open(tmp_path / file).convert("L")).astype(int)) > 60
        )  # something is drawn


@pytest.mark.slow
def test_the_demo_makes_a_portrait_and_a_grid(tmp_path: Path) -> None:
    run(tmp_path, str(ROOT / "examples" / "demo.py"), "--out", "out", "--steps", "4")
    with (
        Image.open(tmp_path / "out" / "grid.png") as grid,
        Image.open(tmp_path / "out" / "portrait.png") as portrait,
    ):
        assert grid.size == (5 * 164 - 4, 5 * 164 - 4)
        assert portrait.size == (512, 512)


def test_examples_and_readme_show_the_guidance_that_is_the_default() -> None:
    shown = [ROOT / "README.md", *(ROOT / "examples").glob("*.py")]
    scales = {scale for path in shown for scale in re.findall(r"\bguidance_scale=([\d.]+)", path.read_text())}
    assert scales == {str(GUIDANCE)}


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    code = blocks[0].replace("num_inference_steps=25", "num_inference_steps=3")
    run(tmp_path, "-c", code + "\nassert image.size == (64, 64), image.size\n")


def test_the_readme_shows_the_table_that_was_measured() -> None:
    markdown = runpy.run_path(str(ROOT / "benchmarks" / "markdown.py"))
    result = json.loads((ROOT / "benchmarks" / "results" / "ablation.json").read_text())
    text = (ROOT / "README.md").read_text()
    assert markdown["with_block"](text, markdown["short"](result)) == text
    with pytest.raises(ValueError, match="ablation"):
        markdown["with_block"]("no mark", "")
