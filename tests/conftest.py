"""Fixtures for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import jaxtyping
import pytest
import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or len(os.sched_getaffinity(0)))
cv2.setNumThreads(1)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the check of annotations off, for arguments of a wrong type that we refuse in our own words."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def face_pack() -> Path:
    """The embedded face pack. It ships with the project: its absence is a failure, not a reason to skip."""
    from emoji_adapter.config import packaged_part

    return packaged_part("faces")
