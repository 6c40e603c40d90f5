"""Names, order and family of the cross-attention layers."""

import pytest

import tiny
from emoji_adapter.errors import InputError
from emoji_adapter.models.layers import base_family, cross_attention_layers, describe_family, select


def test_names_widths_and_order_are_those_of_ip_adapter_files():
    assert cross_attention_layers(tiny.unet()) == {
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2": 64,
        "up_blocks.0.attentions.0.transformer_blocks.0.attn2": 64,
        "up_blocks.0.attentions.1.transformer_blocks.0.attn2": 64,
        "mid_block.attentions.0.transformer_blocks.0.attn2": 64,
    }


def test_family_is_told_by_the_configuration():
    assert base_family(tiny.unet()) == "other"
    assert base_family(tiny.unet(cross_attention_dim=768)) == "sd15"
    assert base_family(tiny.unet(cross_attention_dim=1024)) == "sd2"
    assert base_family(tiny.xl_unet()) == "sdxl"
    assert describe_family("sdxl", 2048) == "SDXL (cross-attention width 2048)"


def test_selection_keeps_the_order_and_knows_whole_parts_only():
    names = ["up.1.attn2", "up.10.attn2", "mid.attn2"]
    assert select(names, "all") == names
    assert select(names, ["mid", "up.1"]) == ["up.1.attn2", "mid.attn2"]
    assert select(names, "up.*") == names[:2]
    assert select(names, []) == []
    with pytest.raises(InputError, match="'u'"):
        select(names, "u")
