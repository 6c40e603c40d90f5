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
LEFT_OUT = (
    "not test_stable_diffusion_xl_euler and not (TestXL and test_ip_adapter)"  # recorded pictures
    " and not test_stable_diffusion_two_xl_mixture_of_denoiser_fast"  # gives our parts to stock pipelines
)


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOUT, reason="EMOJI_ADAPTER_DIFFUSERS names no checkout of diffusers")
@pytest.mark.parametrize("classes", ["TestSD or TestAttachedSD", "TestXL or TestAttachedXL"])
def test_diffusers_own_tests_pass(classes, tmp_path):
    shutil.copytree(Path(CHECKOUT) / "tests", tmp_path / "tests")
    outside = tmp_path / "tests" / "outside"
    outside.mkdir()
    (outside / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("outside.py"), outside / "test_emoji.py")
    # The tests lie in a folder of their own, so that neither our settings nor the checkout's sources count.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    paths = [str(SRC), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    chosen = f"({classes}) and {LEFT_OUT}"
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", str(outside), "-k", chosen]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) > 20
