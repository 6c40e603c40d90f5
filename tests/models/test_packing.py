"""`benchmarks/packing.py`: adapters at a byte a number, there and back."""

import importlib
from pathlib import Path

import pytest
import torch

import tiny
from emoji_adapter import EmojiAdapter

ROOT = Path(__file__).parents[2]
CHANGED = "to_v_expression"


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Folders of a base and of an adapter with fewer layers and other expression values."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    unet = tiny.unet()
    base = tiny.adapter(unet)
    kept = base.config["expression_layers"][:1]
    trained = tiny.adapter(unet, expression_layers=kept)
    weights = {
        name: value + 0.01 * torch.randn(value.shape) * name.startswith(CHANGED)
        for name, value in base.state_dict().items()
        if name in trained.state_dict()
    }
    trained.load_state_dict(weights)
    for name, model in (("base", base), ("trained", trained)):
        model.half().save_pretrained(tmp_path / name)
    return tmp_path


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in EmojiAdapter.from_pretrained(folder).state_dict().items()}


def test_adapters_come_back(folders):
    packing = importlib.import_module("packing")
    places = {name: folders / name for name in ("base", "trained")}
    packing.pack(places, folders, taught=["trained"])
    packing.unpack_all(folders, folders / "out")
    before, base, after = (
        weights_of(folder) for folder in (folders / "trained", folders / "out/base", folders / "out/trained")
    )
    assert before.keys() == after.keys()
    for name, value in after.items():
        if name.startswith(CHANGED):
            change = (before[name] - weights_of(folders / "base")[name]).abs().max()
            rounding = (base[name] - weights_of(folders / "base")[name]).abs().max()
            assert (value - before[name]).abs().max() < 0.01 * change + 0.001
            assert change > 10 * rounding
        else:
            assert torch.equal(value, base[name])
    taught = EmojiAdapter.from_pretrained(folders / "out/trained_taught")
    assert taught.config["expression_teacher"] == "micro"
    assert all(torch.equal(value.float(), after[name]) for name, value in taught.state_dict().items())
    sizes = {file.stem: file.stat().st_size for file in folders.glob("*.safetensors")}
    assert sizes["trained_taught"] < sizes["trained"] < sizes["base"]


def test_rows_that_read_pictures_alone_leave_the_codes_out(folders):
    packing = importlib.import_module("packing")
    packing.pack({name: folders / name for name in ("base", "trained")}, folders)
    packing.unpack_all(folders, folders / "out")
    assert EmojiAdapter.from_pretrained(folders / "out/trained").config["blendshapes"] is None
    assert EmojiAdapter.from_pretrained(folders / "out/base").config["blendshapes"] == 52


def test_the_shipped_rows_can_be_unpacked(folders):
    packing = importlib.import_module("packing")
    file = ROOT / "weights" / "ablation" / "idi_1.safetensors"
    packing.unpack(file, folders / "idi")
    adapter = EmojiAdapter.from_pretrained(folders / "idi")
    assert len(adapter.config["expression_layers"]) == 2
    assert "micro_idi_cpu" in adapter.config["recipe"]
