"""`emoji-adapter prepare` and `train`: exit codes, messages, and a whole run from settings in a file."""

import dataclasses

import pytest

import tiny
import tiny_prepared
from emoji_adapter.cli import main
from emoji_adapter.config import save_config
from emoji_adapter.training.config import AdapterConfig, TrainingConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Settings in a file and a prepared set."""
    folder = tmp_path_factory.mktemp("cli")
    names = {item.name for item in dataclasses.fields(AdapterConfig)} & tiny.SIZES.keys()
    config = TrainingConfig(
        stage="identity",
        checkpoint=str(tiny.checkpoint(folder / "checkpoint")),
        expression_encoder=str(tiny_prepared.expression_encoder(folder / "encoder")),
        adapter=dataclasses.replace(AdapterConfig(), **{name: tiny.SIZES[name] for name in names}),
        preview_every=0,
    )
    save_config(config, folder / "settings.yaml")
    tiny_prepared.prepared(folder / "set")
    return folder


def train(folder, *more, data="set", out="out"):
    arguments = ["--recipe", folder / "settings.yaml", "--data", folder / data, "--out", folder / out]
    return main([str(item) for item in ("train", *arguments, "--device", "cpu", *more)])


def test_a_run_from_a_file_with_changed_settings(run, capsys):
    assert train(run, "--set", "steps=2", "--set", "batch=3") == 0
    assert f"The trained adapter is in {run / 'out' / 'adapter'}" in capsys.readouterr().out.replace("\n", "")
    assert train(run, "--set", "steps=2", "--set", "batch=3") == 2
    assert "already holds a run" in capsys.readouterr().err
    assert train(run, "--set", "steps=2", "--set", "batch=3", "--resume") == 0


@pytest.mark.parametrize(
    ("more", "data", "message"),
    [
        (["--set", "stps=2"], "set", "unknown key 'stps'. Did you mean 'steps'?"),
        (["--set", "steps"], "set", "must read key=value"),
        (["--recipe", "nothing"], "set", "There is no recipe 'nothing'. Packaged:"),
        ([], "nowhere", "is not a complete prepared set"),
        (["--set", "checkpoint=/nowhere"], "set", "'/nowhere' is neither"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(run, capsys, more, data, message):
    assert train(run, *more, data=data, out="other") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("Error: ")
    assert message in error
    assert not (run / "other").exists()


def test_preparing_an_empty_folder_is_refused(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    assert main(["prepare", str(tmp_path / "pictures"), "--out", str(tmp_path / "set")]) == 2
    assert "holds no picture" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
