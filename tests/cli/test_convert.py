from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
import tiny_ip_adapters as files
from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.cli import main
from emoji_adapter.models.layers import cross_attention_layers


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A checkpoint, and a FaceID and an expression file for it."""
    folder = tmp_path_factory.mktemp("world")
    tiny.unet().save_pretrained(folder / "checkpoint" / "unet")
    layers = cross_attention_layers(tiny.unet())
    weights = files.face_id(layers, tiny.CROSS_DIM, lora=2)
    save_file(weights, folder / "faceid.safetensors")
    save_file(files.face_id(layers, tiny.CROSS_DIM, dim=55), folder / "exp.safetensors")
    return folder, weights


def test_files_become_an_adapter_and_come_out_as_they_went_in(
    world: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, weights = world
    there = [
        "--identity",
        str(folder / "faceid.safetensors"),
        "--expression",
        str(folder / "exp.safetensors"),
    ]
    base = ["--checkpoint", str(folder / "checkpoint")]
    assert main(["convert", *there, *base, "--out", str(tmp_path / "ours")]) == 0
    assert "imported FaceID" in capsys.readouterr().out
    adapter = load_adapter(tmp_path / "ours", unet=tiny.unet())
    assert adapter.config["blendshapes"] == 55
    assert main(["convert", "--adapter", str(tmp_path / "ours"), *base, "--out", str(tmp_path / "back")]) == 0
    back = load_file(tmp_path / "back" / "identity.safetensors")
    assert back.keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in back.items())
    assert (
        load_file(tmp_path / "back/expression.safetensors").keys()
        == load_file(folder / "exp.safetensors").keys()
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give --identity, --expression or both"),
        (["--adapter", "micro", "--identity", "x"], "or --adapter to export one"),
        (["--identity", "x.bin"], "x.bin"),
        (["--adapter", "micro"], "Name the checkpoint that it is for"),
        (["--adapter", "micro", "--checkpoint", "micro"], "the code of a teacher ('micro')"),
        (["--adapter", "micro", "--dtype", "int8"], "--dtype must be one of"),
        (["--identity", "x.safetensors", "--checkpoint", "/nowhere/at/all"], "nowhere"),
    ],
)
def test_what_cannot_be_converted_is_told_in_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_embedded_adapter_goes_out_without_its_code_if_asked_for(tmp_path: Path) -> None:
    words = ["--adapter", "micro", "--checkpoint", "micro", "--features-only", "--out", str(tmp_path)]
    assert main(["convert", *words]) == 0
    assert "image_proj.latents" in load_file(tmp_path / "expression.safetensors")
