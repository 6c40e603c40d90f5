"""Sizes of a default adapter for the true U-Nets, which are built without memory."""

import pytest
import torch
from diffusers import UNet2DConditionModel

import tiny
from emoji_adapter.models.adapter import EmojiAdapter
from true_unets import CONFIGS


@pytest.mark.parametrize(
    ("family", "limit", "wanted"),
    [("sd15", 60, 27_362_944), ("sdxl", 160, 70_208_896)],
)
def test_the_default_dual_adapter_is_small_and_acts_everywhere(family, limit, wanted):
    with torch.device("meta"):
        adapter = EmojiAdapter.for_unet(UNet2DConditionModel(**CONFIGS[family]))
    count = sum(parameter.numel() for parameter in adapter.parameters())
    assert count == wanted
    assert 2 * count <= limit * 1e6
    for branch in ("identity", "expression"):
        layers = adapter.config[f"{branch}_layers"]
        assert len(layers) >= 8
        assert {name.split(".")[0].split("_")[0] for name in layers} == {"down", "mid", "up"}


def test_what_is_asked_for_goes_before_the_default():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**CONFIGS["sdxl"])
        default = EmojiAdapter.for_unet(unet)
        asked = EmojiAdapter.for_unet(unet, "mid_block", "up_blocks.0.attentions.1", kv_rank=None)
    style = [name for name in default.layers if name.startswith("up_blocks.0.attentions.1")]
    assert len(style) == 10
    assert not set(style) & set(default.config["expression_layers"])
    assert asked.config["expression_layers"] == style
    assert asked.config["kv_rank"] is None
    assert len(asked.config["identity_layers"]) == 10


def test_another_unet_has_the_sizes_of_the_constructor():
    adapter = EmojiAdapter.for_unet(tiny.xl_unet(), resampler_width=16, resampler_heads=2)
    assert (adapter.config["kv_rank"], adapter.config["resampler_depth"]) == (None, 4)
    assert adapter.config["identity_layers"] == adapter.config["expression_layers"]
