"""The real client, spoken to over HTTP on the loopback."""

import time

import huggingface_hub
import pytest
from huggingface_hub import constants

import tiny
from loopback_hub import LoopbackHub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on the loopback to which HF_ENDPOINT points, an empty cache, and no token."""
    with LoopbackHub() as server:
        for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("NO_PROXY", "*")
        template = "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": server.address,  # what HF_ENDPOINT sets when the client is imported
            "HUGGINGFACE_CO_URL_TEMPLATE": server.address + template,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "token"),
            "HF_STORED_TOKENS_PATH": str(tmp_path / "tokens"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's own retries
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def adapter():
    return tiny.adapter(tiny.unet(), recipe="a test (seed 0)", commit="0" * 40)
