"""The command `emoji-adapter push`."""

import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load

import tiny
from emoji_adapter.checkpoints.format import save_adapter
from emoji_adapter.checkpoints.locate import WEIGHT_NAME
from emoji_adapter.cli import main
from loopback_hub import TOKEN

# The client itself uploads large files in a way that its HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def folder(tmp_path):
    save_adapter(tiny.adapter(tiny.unet(), identity_encoder="buffalo_l"), tmp_path / "adapter")
    return str(tmp_path / "adapter")


def test_it_publishes_halves_and_prints_the_address(hub, folder, capsys):
    words = ["push", "org/name", "--adapter", folder, "--base-model", "org/base", "--token", TOKEN]
    assert main([*words, "--message", "first", "--private"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{hub.address}/org/name/commit/")
    assert "buffalo_l is for non-commercial research only" in printed.err
    files = hub.repositories["org/name"].commits[-1]
    assert hub.repositories["org/name"].private
    assert {tensor.dtype for tensor in load(files[WEIGHT_NAME]).values()} == {torch.float16}
    assert ModelCard(files["README.md"].decode()).data.base_model == "org/base"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dtype", "int8"], "--dtype must be float16 or"),
        (["--evaluation", "none.json"], "Cannot read the evaluation none.json"),
        ([], "say which one the adapter was trained on"),
        (["--base-model", "org/base", "--token", "hf_wrong"], "does not accept the token"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(hub, folder, capsys, more, words):
    assert main(["push", "org/name", "--adapter", folder, *more]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert words in printed[-1]
    assert hub.repositories == {}


@pytest.mark.slow
def test_another_process_finds_the_hub_by_its_environment(hub, folder, tmp_path):
    more = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    words = ["push", "org/name", "--adapter", folder, "--base-model", "org/base"]
    done = subprocess.run(
        [sys.executable, "-m", "emoji_adapter", *words],
        env=os.environ | more | {"HF_HOME": str(tmp_path / "hf")},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(hub.repositories["org/name"].commits[-1]) == {"config.json", WEIGHT_NAME, "README.md"}
