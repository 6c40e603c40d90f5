"""Weights, names, sizes and scales of the adapter."""

import pytest
import torch

import tiny
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.models.adapter import BRANCHES, MICRO, EmojiAdapter, is_adapter_parameter
from emoji_adapter.models.keys_values import Projection

MID = "mid_block.attentions.0.transformer_blocks.0.attn2"


def test_a_fresh_adapter_reads_tokens_as_the_unet_reads_text():
    unet = tiny.unet()
    adapter = EmojiAdapter.for_unet(unet, **tiny.SIZES)
    text = unet.get_submodule(MID)
    for branch in ("identity", "expression"):
        assert torch.equal(getattr(adapter, f"to_k_{branch}")[MID].weight, text.to_k.weight)
        assert torch.equal(getattr(adapter, f"to_v_{branch}")[MID].weight, text.to_v.weight)


def test_every_parameter_belongs_to_exactly_one_branch():
    adapter = tiny.adapter(tiny.unet(), identity_lora_rank=2, second_recogniser="micro")
    names = [name for name, _ in adapter.named_parameters()]
    assert names == list(adapter.state_dict())
    assert {name.split(".")[0] for name in names} == {
        module for modules in BRANCHES.values() for module in modules
    }
    for name in names:
        assert is_adapter_parameter(name)
        assert [is_adapter_parameter(name, branch) for branch in BRANCHES].count(True) == 1
    assert not is_adapter_parameter("unet.conv_in.weight")
    assert f"to_v_expression.{MID}.weight" in names


def test_micro_sizes_stay_under_their_budget():
    unet = tiny.unet(
        block_out_channels=(48, 96, 160),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=128,
        norm_num_groups=16,
    )
    adapter = EmojiAdapter.for_unet(unet, **MICRO)
    assert len(adapter.layers) == 16
    assert sum(p.numel() for p in adapter.parameters()) <= 1_600_000


def test_each_layer_gets_its_own_scale():
    adapter = tiny.adapter(tiny.unet())
    tokens = adapter.identity_tokens_of(tiny.identities(2))
    full = adapter(tokens)
    part = adapter(tokens, identity_scale={"up_blocks": 0.5, "up_blocks.0.attentions.1": 0.25, "mid*": 2.0})
    expected = {name: 2.0 if name == MID else 0.0 for name in adapter.layers}
    for name in adapter.layers:
        if name.startswith("up_blocks"):
            expected[name] = 0.25 if "attentions.1" in name else 0.5
        torch.testing.assert_close(part[name].v_identity, expected[name] * full[name].v_identity)
        assert torch.equal(part[name].k_identity, full[name].k_identity)
    assert set(expected.values()) == {0.0, 0.25, 0.5, 2.0}


def test_each_row_gets_its_own_scale():
    adapter = tiny.adapter(tiny.unet())
    tokens = adapter.expression_tokens_of(tiny.expressions(3))
    full, part = adapter(None, tokens), adapter(None, tokens, expression_scale=torch.tensor([1.0, 0.0, 0.5]))
    torch.testing.assert_close(part[MID].v_expression[0], full[MID].v_expression[0])
    assert part[MID].v_expression[1].abs().max() == 0
    torch.testing.assert_close(part[MID].v_expression[2], full[MID].v_expression[2] / 2)
    assert part[MID].k_identity is None


def test_a_pattern_that_means_no_layer_is_refused():
    unet = tiny.unet()
    with pytest.raises(InputError, match=r"'up_blocks\.7'.*a dotted prefix"):
        EmojiAdapter.for_unet(unet, identity_layers=["mid_block", "up_blocks.7"])
    with pytest.raises(InputError, match="'nose'"):
        tiny.adapter(unet)(torch.randn(1, 3, tiny.CROSS_DIM), identity_scale={"nose": 1.0})


def test_only_the_direction_of_an_identity_counts():
    adapter = tiny.adapter(tiny.unet())
    embeds = tiny.identities(2)
    torch.testing.assert_close(adapter.identity_tokens_of(22.5 * embeds), adapter.identity_tokens_of(embeds))


@pytest.mark.parametrize(
    ("method", "shape", "wanted"),
    [
        ("identity_tokens_of", (2, 511), "[batch, 512]"),
        ("identity_tokens_of", (512,), "[batch, 512]"),
        ("expression_tokens_of", (2, 6, 21), "[batch, any, 20]"),
        ("blendshape_tokens_of", (2, 51), "[batch, 52]"),
    ],
)
def test_a_wrong_shape_is_refused_in_words(method, shape, wanted):
    adapter = tiny.adapter(tiny.unet())
    with pytest.raises(AdapterMismatchError) as caught:
        getattr(adapter, method)(torch.zeros(shape))
    assert wanted in str(caught.value)
    assert str(list(shape)) in str(caught.value)


def test_low_rank_has_few_weights_and_the_same_meaning():
    unet = tiny.unet()
    full, low = tiny.adapter(unet), tiny.adapter(unet, kv_rank=4)
    projection = low.to_k_identity[MID]
    assert projection.up.shape == (64, 4)
    assert projection.down.shape == (4, tiny.CROSS_DIM)
    text_keys = unet.get_submodule(MID).to_k.weight
    left, values, right = torch.linalg.svd(text_keys)
    best = left[:, :4] * values[:4] @ right[:4]
    torch.testing.assert_close(projection.matrix(), best, atol=1e-5, rtol=1e-4)
    tokens = low.identity_tokens_of(tiny.identities(1))
    torch.testing.assert_close(
        low(tokens)[MID].k_identity, tokens @ projection.matrix().T, atol=1e-5, rtol=1e-4
    )
    assert sum(p.numel() for p in low.parameters()) < sum(p.numel() for p in full.parameters())


@pytest.mark.parametrize("rank", [5, 8])
def test_a_low_rank_projection_of_full_rank_or_above_loses_nothing(rank):
    matrix = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    projection = Projection(5, 6, rank=rank)
    projection.set_to(matrix)
    torch.testing.assert_close(projection.matrix(), matrix, atol=1e-4, rtol=1e-4)


def test_one_branch_may_have_no_layers():
    unet = tiny.unet()
    adapter = tiny.adapter(unet, expression_layers=[])
    assert adapter(None, adapter.expression_tokens_of(tiny.expressions(1))) == {}
    assert adapter.config.expression_layers == []
