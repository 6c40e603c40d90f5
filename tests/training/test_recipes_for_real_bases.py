"""The recipes for SD1.5 and SDXL: they load as they stand, for every stage, and mean the layers they say."""

import inspect
import re
import shlex
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import UNet2DConditionModel

from emoji_adapter.data.idi.config import load_idi
from emoji_adapter.models.family_defaults import fresh_config
from emoji_adapter.models.layers import cross_attention_layers, select
from emoji_adapter.training.config import TrainingConfig, load_recipe
from true_unets import CONFIGS

FOLDER = Path(__file__).parents[2] / "examples" / "configs"


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_recipe_loads_for_every_stage(family):
    config = load_recipe(FOLDER / f"{family}.yaml")
    assert (config.recipe, config.stage, config.precision) == (family, "identity", "bf16")
    for stage in ("expression", "ica", "feedback"):
        later = load_recipe(FOLDER / f"{family}.yaml", [f"stage={stage}", "start=runs/before/adapter"])
        assert (later.stage, later.start) == (stage, "runs/before/adapter")
    assert (later.feedback.pack, later.feedback.teacher) == (config.ica.pack, config.ica.teacher)
    assert config.ica.pack == "buffalo_l"
    looks = ["stage=ica", "ica.branch=identity", "ica.contrast_weight=0", "ica.expression_weight=0"]
    assert load_recipe(FOLDER / f"{family}.yaml", looks).ica.branch == "identity"


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_layers_of_a_recipe_are_the_defaults_of_the_family(family):
    shape = load_recipe(FOLDER / f"{family}.yaml").adapter
    with torch.device("meta"):
        unet = UNet2DConditionModel(**CONFIGS[family])
    default, layers = fresh_config(unet, None, None, {}), cross_attention_layers(unet)
    assert select(layers, shape.identity_layers) == default["identity_layers"]
    assert select(layers, shape.expression_layers) == default["expression_layers"]


@pytest.mark.parametrize(("family", "stock"), [("sd15", "StableDiffusion"), ("sdxl", "StableDiffusionXL")])
def test_pictures_are_drawn_with_the_guidance_of_the_base_and_not_of_the_micro_world(family, stock):
    call = getattr(diffusers, f"{stock}Pipeline").__call__
    default = inspect.signature(call).parameters["guidance_scale"].default
    config = load_recipe(FOLDER / f"{family}.yaml")
    assert config.preview.guidance_scale == config.feedback.guidance_scale == default


def test_the_guide_names_the_guidance_that_idi_draws_with():
    guide = (FOLDER.parents[1] / "docs" / "own_base.md").read_text()
    (words,) = re.findall(r'^IDI="(.+?)"', guide.replace("\\\n", ""), re.MULTILINE)
    given = [word for word in shlex.split(words) if word != "--set"]
    assert load_idi("micro", given).guidance == 5.0
    assert load_idi("micro", [word for word in given if "guidance" not in word]).guidance is None


def test_what_a_recipe_leaves_out_is_the_default():
    shape = load_recipe(FOLDER / "sdxl.yaml").adapter
    assert (shape.kv_rank, shape.resampler_depth) == (None, None)
    assert TrainingConfig(stage="identity").gradient_checkpointing is False
