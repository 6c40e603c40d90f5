"""The real client, spoken to over HTTP on the loopback."""

import time

import pytest

import tiny
from loopback_hub import LoopbackHub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on the loopback to which HF_ENDPOINT points, an empty cache, and no token."""
    with LoopbackHub() as server:
        server.connect(monkeypatch, tmp_path)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's own retries
        yield server


@pytest.fixture
def adapter():
    return tiny.adapter(tiny.unet(), recipe="a test (seed 0)", commit="0" * 40)
