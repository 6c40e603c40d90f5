"""Sizes, layers and cost of a default adapter for the true U-Nets, which are built without memory."""

import importlib
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch._subclasses.fake_tensor import FakeTensorMode

import tiny
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.attention import CARRIER
from emoji_adapter.models.family_defaults import fresh_config
from emoji_adapter.models.layers import cross_attention_layers
from true_unets import CONFIGS

SD2 = {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
    "sample_size": 96,
}
TRUE = CONFIGS | {"sd2": CONFIGS["sd15"] | SD2}


def true_unet(family, **changes):
    with torch.device("meta"):
        return UNet2DConditionModel(**TRUE[family] | changes)


@pytest.mark.parametrize(
    ("family", "limit", "wanted", "layers"),
    [
        ("sd15", 60, 29_322_880, (11, 11)),
        ("sd2", 60, 29_628_800, (11, 11)),
        ("sdxl", 160, 76_500_352, (40, 36)),
    ],
)
def test_the_default_dual_adapter_is_small_and_acts_in_down_mid_and_up(family, limit, wanted, layers):
    unet = true_unet(family)
    with torch.device("meta"):
        adapter = EmojiAdapter.for_unet(unet)
    count = sum(parameter.numel() for parameter in adapter.parameters())
    assert count == wanted
    assert 2 * count <= limit * 1e6
    chosen = {branch: adapter.config[f"{branch}_layers"] for branch in ("identity", "expression")}
    assert tuple(map(len, chosen.values())) == layers
    for names in chosen.values():
        assert len(names) >= 8
        assert {name.split(".")[0].split("_")[0] for name in names} == {"down", "mid", "up"}


@pytest.fixture
def counting(monkeypatch):
    """`benchmarks/counting.py`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("counting")


@pytest.mark.parametrize("family", CONFIGS)
def test_a_call_costs_at_most_a_fifth_of_what_two_stock_ip_adapters_add(family, counting):
    with torch.device("meta"), torch.no_grad():
        ratio = counting.count_family(family)["ratio"]
    assert set(ratio) == {"operations", "flops"}
    assert max(ratio.values()) <= 0.2


@torch.no_grad()
def operations(counting, counter):
    """Of calls of a tiny U-Net, without an adapter and with one."""
    unet = tiny.unet()
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    config = adapter.config
    told = adapter(
        adapter.identity_tokens_of(torch.randn(1, config["identity_dim"])),
        adapter.expression_tokens_of(torch.randn(1, 4, config["expression_dim"])),
    )
    given = torch.randn(2, 4, 8, 8), torch.tensor([1, 2]), torch.randn(2, 5, config["cross_attention_dim"])
    return [
        counting.counted(lambda kwargs=kwargs: unet(*given, **kwargs), counter)["operations"]
        for kwargs in ({}, {"cross_attention_kwargs": {CARRIER: told}})
    ]


def test_what_counts_as_an_operation_is_what_a_cpu_dispatches(counting):
    dispatched = operations(counting, counting.Dispatched)
    assert operations(counting, counting.Counter) == dispatched
    with FakeTensorMode():
        assert operations(counting, counting.Dispatched) == dispatched
    with torch.device("meta"):
        assert operations(counting, counting.Counter) == dispatched
        assert operations(counting, counting.Dispatched) > dispatched


@pytest.mark.slow
@pytest.mark.parametrize("family", CONFIGS)
def test_so_it_is_by_what_a_cpu_dispatches(family, counting):
    with FakeTensorMode(), torch.no_grad():
        ratio = counting.count_family(family, counting.Dispatched)["ratio"]
    assert ratio["operations"] <= 0.2


def test_the_expression_leaves_style_layers_alone():
    xl = fresh_config(true_unet("sdxl"), None, None, {})["expression_layers"]
    assert not [name for name in xl if name.startswith("up_blocks.0.attentions.1")]
    finest = fresh_config(true_unet("sd15"), None, None, {})["expression_layers"]
    assert not [name for name in finest if name.startswith(("down_blocks.0", "up_blocks.3"))]


def test_what_is_asked_for_goes_before_the_default():
    unet = true_unet("sdxl")
    with torch.device("meta"):
        asked = EmojiAdapter.for_unet(unet, "mid_block", "up_blocks.0.attentions.1", kv_rank=None)
    style = [name for name in cross_attention_layers(unet) if name.startswith("up_blocks.0.attentions.1")]
    assert len(style) == 10
    assert asked.config["expression_layers"] == style
    assert asked.config["kv_rank"] is None
    assert len(asked.config["identity_layers"]) == 10


@pytest.mark.parametrize("family", TRUE)
def test_all_means_all(family):
    unet = true_unet(family)
    config = fresh_config(unet, "all", ["all"], {})
    every = list(cross_attention_layers(unet))
    assert config["identity_layers"] == config["expression_layers"] == every == list(config["layer_dims"])


def test_a_pruned_unet_of_a_family_has_the_default_layers_that_are_left():
    unet = true_unet("sd15", mid_block_type=None)
    layers = fresh_config(unet, None, None, {})["identity_layers"]
    assert len(layers) == 10
    few = true_unet(
        "sd15",
        down_block_types=("CrossAttnDownBlock2D",) + ("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 4,
        mid_block_type=None,
    )
    assert fresh_config(few, None, None, {})["expression_layers"] == list(cross_attention_layers(few))


def test_another_unet_has_the_sizes_of_the_constructor_and_acts_in_all_layers():
    unet = tiny.xl_unet()
    adapter = EmojiAdapter.for_unet(unet, resampler_width=16, resampler_heads=2)
    assert (adapter.config["kv_rank"], adapter.config["resampler_depth"]) == (None, 4)
    every = list(cross_attention_layers(unet))
    assert adapter.config["identity_layers"] == adapter.config["expression_layers"] == every
