"""Processes that torchrun starts train together, on a CPU too."""

import subprocess
import sys

import pytest
import torch

SCRIPT = """
from emoji_adapter.training.session import make_accelerator

accelerator = make_accelerator()
print("process", accelerator.process_index, "of", accelerator.num_processes)
"""


@pytest.mark.skipif(torch.accelerator.is_available(), reason="joins processes by itself")
def test_processes_without_an_accelerator_join(tmp_path):
    script = tmp_path / "join.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(script)]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert {"process 0 of 2", "process 1 of 2"} <= set(done.stdout.splitlines())
