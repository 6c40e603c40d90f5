"""Both branches as stock IP-Adapters: an unmodified diffusers pipeline computes what ours computes."""

import copy

import pytest
import torch
from diffusers import StableDiffusionPipeline

import tiny
from emoji_adapter.checkpoints.stock import stock_ip_adapters
from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.attention import CARRIER
from emoji_adapter.models.parts import require_part


def stock_unet(unet, adapter, **asked):
    """A copy of the U-Net with both adapters, loaded the stock way."""
    parts = tiny.components() | {"unet": copy.deepcopy(unet)}
    pipe = StableDiffusionPipeline(**parts)
    weights = stock_ip_adapters(adapter, unet, **asked)
    pipe.load_ip_adapter(weights, subfolder="", weight_name=["", ""], image_encoder_folder=None)
    pipe.set_ip_adapter_scale([1.0, 1.0])
    return pipe.unet


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"identity_width": 700, "resampler_depth": 4, "resampler_mult": 4},
        {"expression_layers": "mid_block"},
    ],
)
@torch.no_grad()
def test_the_stock_unet_computes_the_same(sizes):
    unet = tiny.unet()
    adapter = tiny.adapter(unet, **sizes)
    latents, text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, tiny.CROSS_DIM)
    identity, features = tiny.identities(2), tiny.expressions(2)
    plain = unet(latents, 10, text).sample
    theirs = stock_unet(unet, adapter)
    embeds = [identity[:, None], features[:, None]]
    got = theirs(latents, 10, text, added_cond_kwargs={"image_embeds": embeds}).sample
    kv = adapter(adapter.identity_tokens_of(identity), adapter.expression_tokens_of(features))
    adapter.attach(unet)
    expected = unet(latents, 10, text, cross_attention_kwargs={CARRIER: kv}).sample
    assert (expected - plain).abs().max() > 1e-2
    assert (got - expected).abs().max() < 1e-4


def test_a_resampler_that_stock_code_cannot_hold_is_refused():
    unet = tiny.unet()
    with pytest.raises(AdapterMismatchError, match="at most 64, 4 and 4"):
        stock_ip_adapters(tiny.adapter(unet, resampler_depth=5), unet)


@torch.no_grad()
def test_of_a_compound_expression_the_features_go_out_alone_only_if_asked_for():
    unet = tiny.unet()
    adapter = tiny.adapter(unet, expression_dim=60, expression_teacher="micro")
    with pytest.raises(
        AdapterMismatchError, match=r"of patch features and the code of a teacher \('micro'\)"
    ):
        stock_ip_adapters(adapter, unet)
    latents, text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, tiny.CROSS_DIM)
    identity, features = tiny.identities(2), torch.randn(2, tiny.PATCHES, 60)
    embeds = [identity[:, None], features[:, None]]
    theirs = stock_unet(unet, adapter, features_only=True)
    got = theirs(latents, 10, text, added_cond_kwargs={"image_embeds": embeds}).sample
    read = require_part(adapter.expression_resampler, "expression pictures")(features)
    kv = adapter(adapter.identity_tokens_of(identity), read)
    adapter.attach(unet)
    expected = unet(latents, 10, text, cross_attention_kwargs={CARRIER: kv}).sample
    assert (got - expected).abs().max() < 1e-4
