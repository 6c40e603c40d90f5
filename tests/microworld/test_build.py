"""Building: recipes are checked, a killed stage goes on to the same weights."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from emoji_adapter.errors import InputError
from emoji_adapter.microworld import build
from emoji_adapter.microworld.fit import StageRecipe, Workshop, fit


def workshop(folder: Path, steps: int) -> Workshop:
    recipe = StageRecipe(steps=steps, batch=4, learning_rate=0.01)
    return Workshop(folder / "out", folder / "state", torch.device("cpu"), 0, 64, {"toy": recipe})


def toy(shop: Workshop, stop: float = math.inf) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))

    def loss(generator: torch.Generator, batch: int, step: int) -> torch.Tensor:
        if step >= stop:
            raise KeyboardInterrupt
        return (model(torch.randn(batch, 3, generator=generator)) - 1).square().mean()

    return fit(shop, "toy", model, loss, save_every=0.0).state_dict()


def test_a_killed_stage_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = toy(workshop(tmp_path / "whole", 30))
    shop = workshop(tmp_path / "killed", 30)
    with pytest.raises(KeyboardInterrupt):
        toy(shop, stop=13)
    resumed = toy(shop)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_fitting_lowers_the_loss(tmp_path: Path) -> None:
    shop = workshop(tmp_path, 200)
    toy(shop)
    assert shop.figures["toy"]["steps"] == 200
    assert shop.figures["toy"]["loss"] < 0.2


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_packaged_recipes_cover_every_stage(name: str) -> None:
    size, recipes = build.load_recipe(name)
    assert size in {64, 128}
    assert set(recipes) == set(build.STAGES)


def test_wrong_recipes_and_stages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No recipe 'tpu'"):
        build.load_recipe("tpu")
    own = tmp_path / "own.yaml"
    own.write_text("denoizer: {steps: 1, batch: 1, learning_rate: 0.1}")
    with pytest.raises(InputError, match="denoizer"):
        build.load_recipe(str(own))
    with pytest.raises(InputError, match="needs \\['text', 'autoencoder'\\] first"):
        build.build(tmp_path / "w", "cpu", stages=["denoiser"], device="cpu")
    with pytest.raises(InputError, match="No stage 'vae'"):
        build.build(tmp_path / "w", "cpu", stages=["vae"], device="cpu")
