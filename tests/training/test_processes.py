"""Processes that torchrun starts train together, on a CPU too."""

import subprocess
import sys

import pytest
import torch

SCRIPT = """
import sys
from pathlib import Path

from emoji_adapter.training.processes import make_accelerator

accelerator = make_accelerator()
Path(sys.argv[1], f"process_{accelerator.process_index}").write_text(f"of {accelerator.num_processes}")
"""


@pytest.mark.skipif(torch.accelerator.is_available(), reason="joins processes by itself")
def test_processes_without_an_accelerator_join(tmp_path):
    script = tmp_path / "join.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    done = subprocess.run([*launch, str(script), str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = {path.name: path.read_text() for path in tmp_path.glob("process_*")}
    assert found == {"process_0": "of 2", "process_1": "of 2"}
