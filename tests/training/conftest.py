"""A tiny checkpoint, expression encoder and prepared set in their real files, and settings that name them."""

import dataclasses
from typing import Any

import pytest

import tiny
import tiny_prepared
from emoji_adapter.data.dataset import PreparedSet
from emoji_adapter.training.config import AdapterConfig, PreviewConfig, TrainingConfig


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """Folder with `checkpoint`, `encoder` and `set`."""
    folder = tmp_path_factory.mktemp("material")
    tiny.checkpoint(folder / "checkpoint")
    tiny_prepared.expression_encoder(folder / "encoder")
    tiny_prepared.prepared(folder / "set")
    return folder


@pytest.fixture(scope="session")
def data(material):
    return PreparedSet.load(material / "set")


@pytest.fixture(scope="session")
def settings(material):
    """Make settings for the tiny world; keywords change them."""
    names = {item.name for item in dataclasses.fields(AdapterConfig)}
    sizes: dict[str, Any] = {name: value for name, value in tiny.SIZES.items() if name in names}
    shape = AdapterConfig(**sizes)

    def make(**changes):
        base = {
            "stage": "identity",
            "checkpoint": str(material / "checkpoint"),
            "expression_encoder": str(material / "encoder"),
            "adapter": shape,
            "steps": 6,
            "batch": 4,
            "warmup": 2,
            "learning_rate": 1e-2,
            "precision": "fp32",  # the same on every machine
            "log_every": 2,
            "preview_every": 0,
            "checkpoint_every": 4,
            "preview": PreviewConfig(prompts=("red", "blue"), identities=2, expressions=3, steps=2),
        }
        return TrainingConfig(**(base | changes))

    return make


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """An adapter both of whose branches act."""
    adapter = tiny.adapter(tiny.unet())
    adapter.register_to_config(expression_crop=tiny_prepared.CROP.to_dict())
    adapter.save_pretrained(folder := tmp_path_factory.mktemp("start"))
    return str(folder)


@pytest.fixture(scope="session")
def identity_adapter(settings, data, tmp_path_factory):
    """The result of a short identity stage."""
    from emoji_adapter.training.loop import train

    return train(settings(), data, tmp_path_factory.mktemp("identity"), device="cpu")
