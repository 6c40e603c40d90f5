"""The carrier: what listens, what it adds, and that it adds nothing when it should not."""

import gc
import weakref

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, FusedAttnProcessor2_0, SlicedAttnProcessor

import tiny
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.models import attention
from emoji_adapter.models.attention import CARRIER, DualAttnProcessor


def forward(unet, kv, rows=2, seed=5):
    """One call of the U-Net on fixed random latents and text."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(rows, 4, 8, 8, generator=generator)
    text = torch.randn(rows, 7, tiny.CROSS_DIM, generator=generator)
    kwargs = None if kv is None else {CARRIER: kv}
    return unet(latents, 3, text, cross_attention_kwargs=kwargs).sample


def kv_of(adapter, n=2, **scales):
    """Keys and values of n people."""
    return adapter(
        adapter.identity_tokens_of(tiny.identities(n)),
        adapter.expression_tokens_of(tiny.expressions(n)),
        **scales,
    )


@pytest.fixture
def unet():
    return tiny.unet()


def test_scales_of_zero_equal_stock_bit_for_bit(unet):
    adapter = tiny.adapter(unet)
    plain = forward(unet, None)
    adapter.attach(unet)
    assert torch.equal(forward(unet, None), plain)
    assert torch.equal(forward(unet, kv_of(adapter, identity_scale=0.0, expression_scale=0.0)), plain)
    assert not torch.equal(forward(unet, kv_of(adapter, identity_scale=1e-3, expression_scale=0.0)), plain)


def test_what_a_pass_keeps_for_its_gradients_does_not_wait_for_the_collector(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    kv = kv_of(adapter)
    queries = []
    for layer in adapter.layers:
        unet.get_submodule(layer).to_q.register_forward_hook(
            lambda module, given, made: queries.append(weakref.ref(made))
        )
    gc.collect()
    gc.disable()
    try:
        forward(unet, kv)
        assert queries
        assert [query for query in queries if query() is not None] == []
    finally:
        gc.enable()


def test_result_is_the_sum_of_three_attentions():
    unet = tiny.unet()
    adapter = tiny.adapter(unet)
    layer = adapter.layers[0]
    block = unet.get_submodule(layer)
    hidden, text = torch.randn(2, 9, block.inner_dim), torch.randn(2, 7, tiny.CROSS_DIM)
    kv = kv_of(adapter, identity_scale=0.7, expression_scale=0.4)
    found = DualAttnProcessor(layer, AttnProcessor2_0())(block, hidden, text, ip_hidden_states=kv)

    def attend(key, value):
        query, key, value = (
            x.unflatten(-1, (block.heads, -1)).transpose(1, 2) for x in (block.to_q(hidden), key, value)
        )
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def branch(name, tokens, scale):
        to_k, to_v = (getattr(adapter, f"to_{x}_{name}")[layer].weight for x in "kv")
        return scale * attend(tokens @ to_k.T, tokens @ to_v.T)

    wanted = attend(block.to_k(text), block.to_v(text))
    wanted = wanted + branch("identity", adapter.identity_tokens_of(tiny.identities(2)), 0.7)
    wanted = wanted + branch("expression", adapter.expression_tokens_of(tiny.expressions(2)), 0.4)
    torch.testing.assert_close(found, block.to_out[0](wanted), atol=1e-5, rtol=1e-4)


def test_each_branch_acts_in_its_own_layers_only(unet):
    adapter = tiny.adapter(unet, identity_layers="mid_block", expression_layers="up_blocks")
    assert adapter.layers == [name for name in tiny.adapter(unet).layers if not name.startswith("down")]
    kv = kv_of(adapter)
    mid = "mid_block.attentions.0.transformer_blocks.0.attn2"
    assert {name for name, x in kv.items() if x.k_identity is not None} == {mid}
    assert {name for name, x in kv.items() if x.k_expression is not None} == set(adapter.layers) - {mid}
    adapter.attach(unet)
    kinds = {
        type(unet.attn_processors[n]) for n in unet.attn_processors if n.removesuffix(".processor") not in kv
    }
    assert kinds == {AttnProcessor2_0}


def test_a_branch_left_out_is_a_branch_at_scale_zero(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    only = adapter(adapter.identity_tokens_of(tiny.identities(2)))
    torch.testing.assert_close(forward(unet, only), forward(unet, kv_of(adapter, expression_scale=0.0)))


def test_negative_rows_are_untouched_and_rows_keep_their_people(unet):
    adapter = tiny.adapter(unet)
    plain = forward(unet, None, rows=4)
    adapter.attach(unet)
    guided = forward(unet, kv_of(adapter), rows=4)
    torch.testing.assert_close(guided[:2], plain[:2])
    assert (guided[2:] - plain[2:]).abs().amax((1, 2, 3)).min() > 1e-3
    other = tiny.identities(2)
    other[1] = -other[1]
    kv = adapter(adapter.identity_tokens_of(other), adapter.expression_tokens_of(tiny.expressions(2)))
    changed = (forward(unet, kv, rows=4) - guided).abs().amax((1, 2, 3)) > 1e-5
    assert changed.tolist() == [False, False, False, True]


def test_when_guidance_is_cut_the_last_rows_of_keys_and_values_count(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    doubled = kv_of(adapter, n=4)
    last = {name: type(kv)(*(x[2:] for x in kv[:4])) for name, kv in doubled.items()}
    torch.testing.assert_close(forward(unet, doubled, rows=2), forward(unet, last, rows=2))


def test_a_branch_with_negative_rows_beside_one_without(unet):
    """An imported identity sees something in negative rows, our own expression does not."""
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    identity = adapter(adapter.identity_tokens_of(tiny.identities(2)))
    expression = adapter(None, adapter.expression_tokens_of(tiny.expressions(1)))
    both = {layer: type(kv)(*kv[:2], *expression[layer][2:4]) for layer, kv in identity.items()}
    alone, found = forward(unet, identity), forward(unet, both)
    torch.testing.assert_close(found[0], alone[0])
    assert (found[1] - alone[1]).abs().max() > 1e-3


def test_without_gradients_the_terms_are_the_same(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    with torch.no_grad():
        found = forward(unet, kv_of(adapter), rows=4)
    assert torch.equal(found, forward(unet, kv_of(adapter), rows=4))


def test_rows_that_cannot_be_paired_are_refused(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    with pytest.raises(InputError, match="3 rows, but keys and values are given for 2"):
        forward(unet, kv_of(adapter), rows=3)


@pytest.mark.parametrize("setup", ["slice", "fuse"])
def test_stands_around_other_stock_processors(unet, setup):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    wanted = forward(unet, kv_of(adapter))
    adapter.detach(unet)
    unet.set_attention_slice(1) if setup == "slice" else unet.fuse_qkv_projections()
    plain = forward(unet, None)
    adapter.attach(unet)
    torch.testing.assert_close(forward(unet, kv_of(adapter)), wanted, atol=1e-5, rtol=1e-4)
    assert torch.equal(forward(unet, kv_of(adapter, identity_scale=0.0, expression_scale=0.0)), plain)
    inner = {type(p.inner) for p in unet.attn_processors.values() if isinstance(p, DualAttnProcessor)}
    assert inner == {SlicedAttnProcessor if setup == "slice" else FusedAttnProcessor2_0}


def test_attach_and_detach_are_inverse_twice(unet):
    adapter = tiny.adapter(unet)
    text, keys, output = repr(unet), list(unet.state_dict()), forward(unet, None)
    processors = unet.attn_processors
    for _ in range(2):
        adapter.attach(unet)
        assert adapter.is_attached(unet)
        assert list(unet.state_dict()) == keys
        adapter.detach(unet)
        assert not adapter.is_attached(unet)
        assert repr(unet) == text
        assert list(unet.state_dict()) == keys
        assert unet.attn_processors == processors
        assert torch.equal(forward(unet, None), output)
    adapter.detach(unet)
    assert unet.attn_processors == processors


def test_attaching_twice_is_refused(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    with pytest.raises(AdapterMismatchError, match="already attached"):
        tiny.adapter(unet).attach(unet)


def test_a_foreign_processor_is_refused_before_anything_changes(unet):
    class Foreign(torch.nn.Module):
        def forward(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
            return hidden_states

    adapter = tiny.adapter(unet)
    unet.get_submodule(adapter.layers[-1]).set_processor(Foreign())
    before = unet.attn_processors
    with pytest.raises(AdapterMismatchError, match="Foreign, which belongs to another extension"):
        adapter.attach(unet)
    assert unet.attn_processors == before
    tiny.adapter(unet, identity_layers="up_blocks", expression_layers="up_blocks").attach(unet)


def test_a_missing_layer_is_refused(unet):
    adapter = tiny.adapter(tiny.unet(layers_per_block=2))
    with pytest.raises(
        AdapterMismatchError, match=r"no cross-attention layer 'down_blocks\.1\.attentions\.1"
    ):
        adapter.attach(unet)


def test_one_graph_for_five_settings(unet, monkeypatch):
    tiny.without_shape_checks(monkeypatch, attention)
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    unet.requires_grad_(False)
    graphs, count = tiny.counted_graphs()
    compiled = torch.compile(unet, fullgraph=True, backend=count)
    for seed, scale in enumerate([1.0, 0.5, 0.0, 0.123, 2.0]):
        kv = adapter(
            adapter.identity_tokens_of(tiny.identities(2, seed)),
            adapter.expression_tokens_of(tiny.expressions(2, seed)),
            identity_scale=scale,
            expression_scale=1.0 - scale / 2,
        )
        kv = {name: type(x)(*(t.detach() for t in x[:4])) for name, x in kv.items()}
        torch.testing.assert_close(forward(compiled, kv, rows=4), forward(unet, kv, rows=4))
    assert len(graphs) == 1


def test_one_graph_with_several_people(unet, monkeypatch):
    tiny.without_shape_checks(monkeypatch, attention)
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    graphs, count = tiny.counted_graphs()
    block = unet.get_submodule(adapter.layers[0].removesuffix(".attn2"))
    compiled = torch.compile(block, fullgraph=True, backend=count)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 16, block.attn2.inner_dim, generator=generator)
    text = torch.randn(2, 7, tiny.CROSS_DIM, generator=generator)
    for scale in (1.0, 0.0):
        with torch.no_grad():
            people = kv_of(adapter, identity_scale=scale)
            masks = torch.rand(1, 2, 8, 8, generator=generator)
            kv = {
                layer: type(parts)(*(part.reshape(1, -1, part.shape[-1]) for part in parts[:4]), masks)
                for layer, parts in people.items()
            }
            given = {"encoder_hidden_states": text, "cross_attention_kwargs": {CARRIER: kv}}
            torch.testing.assert_close(compiled(hidden, **given), block(hidden, **given))
    assert len(graphs) == 1


def test_gradients_reach_every_weight_with_and_without_checkpointing(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    unet.requires_grad_(False)
    blendshapes = torch.rand(2, 52)

    def gradients():
        adapter.zero_grad()
        tokens = adapter.expression_tokens_of(tiny.expressions(2)) + adapter.blendshape_tokens_of(blendshapes)
        forward(
            unet, adapter(adapter.identity_tokens_of(tiny.identities(2)), tokens)
        ).square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in adapter.named_parameters()}

    unet.train()
    plain = gradients()
    assert [name for name, gradient in plain.items() if not gradient.abs().sum() > 0] == []
    unet.enable_gradient_checkpointing()
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, plain[name], msg=name)


def test_works_under_autocast(unet):
    adapter = tiny.adapter(unet)
    adapter.attach(unet)
    wanted = forward(unet, kv_of(adapter))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kv = kv_of(adapter)
        assert kv[adapter.layers[0]].v_identity.dtype == torch.bfloat16
        torch.testing.assert_close(forward(unet, kv).float(), wanted, atol=0.1, rtol=0.1)
