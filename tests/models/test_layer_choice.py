"""An adapter cut to some layers of its expression branch, one with parts begun anew, one made compound."""

import pytest
import torch

import tiny
from emoji_adapter.errors import InputError
from emoji_adapter.models.layer_choice import with_expression_layers, with_fresh, with_second_recogniser
from emoji_adapter.models.parts import is_adapter_parameter


@pytest.fixture
def unet():
    return tiny.unet()


def test_only_the_chosen_layers_are_left_and_all_else_is_copied(unet):
    whole = tiny.adapter(unet, recipe="before", identity_encoder="micro")
    chosen = whole.config["expression_layers"][1:2]
    cut = with_expression_layers(whole, unet, chosen)
    before, after = whole.state_dict(), cut.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    gone = {name for name in before if name not in after}
    assert gone == {
        name
        for name in before
        if name.startswith(("to_k_expression.", "to_v_expression.")) and chosen[0] not in name
    }
    assert cut.config["expression_layers"] == chosen
    assert cut.config["identity_layers"] == whole.config["identity_layers"]
    assert (cut.config["recipe"], cut.config["expression_tokens"]) == (
        "before",
        tiny.SIZES["expression_tokens"],
    )


def test_the_cut_adapter_draws_as_the_whole_one_does_with_the_other_layers_off(unet):
    whole = tiny.adapter(unet)
    chosen = whole.config["expression_layers"][0]
    cut = with_expression_layers(whole, unet, [chosen])
    tokens = whole.identity_tokens_of(tiny.identities(1)), whole.expression_tokens_of(tiny.expressions(1))
    for layer, parts in cut(*tokens).items():
        expected = whole(*tokens, expression_scale={chosen: 1.0})[layer]
        assert torch.equal(parts.v_identity, expected.v_identity)
        if layer == chosen:
            torch.testing.assert_close(parts.v_expression, expected.v_expression)
        else:
            assert parts.v_expression is None


def test_a_layer_that_is_new_to_the_branch_starts_like_text(unet):
    narrow = tiny.adapter(unet, expression_layers=["mid_block"])
    wide = with_expression_layers(narrow, unet, "all")
    new = set(wide.config["expression_layers"]) - set(narrow.config["expression_layers"])
    assert new
    for layer in new:
        assert torch.equal(wide.to_k_expression[layer].matrix(), unet.get_submodule(layer).to_k.weight)
        assert torch.equal(wide.to_v_expression[layer].matrix(), unet.get_submodule(layer).to_v.weight)


def test_a_layer_that_does_not_exist_is_refused(unet):
    with pytest.raises(InputError, match="No cross-attention layer"):
        with_expression_layers(tiny.adapter(unet), unet, ["nowhere"])


@pytest.mark.parametrize(
    "part", ["identity", "expression", "to_k_identity", "to_k_expression", "blendshape_projection"]
)
def test_some_parts_begin_anew_and_all_others_are_kept(unet, part):
    old = tiny.adapter(unet, expression_layers=["mid_block"], expression_teacher="micro")
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.add_(1.0)
    made = with_fresh(old, unet, [part])
    before, after = old.state_dict(), made.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) is not is_adapter_parameter(name, part), name
    for branch, keys in (("identity", made.to_k_identity), ("expression", made.to_k_expression)):
        layer = made.config[f"{branch}_layers"][0]
        anew = part in (branch, f"to_k_{branch}")
        assert torch.equal(keys[layer].matrix(), unet.get_submodule(layer).to_k.weight) is anew
    assert made.config["expression_layers"] == old.config["expression_layers"]
    assert made.config["expression_teacher"] == (None if part == "expression" else "micro")


def test_a_part_that_does_not_exist_is_refused(unet):
    with pytest.raises(InputError, match=r"called 'resampler'. Known: identity, expression, identity_proj"):
        with_fresh(tiny.adapter(unet), unet, ["resampler"])


def test_an_adapter_gets_a_second_recogniser_and_keeps_all_that_it_has(unet):
    of_one = tiny.adapter(unet, recipe="before")
    of_two = with_second_recogniser(of_one, unet, "other")
    before, after = of_one.state_dict(), of_two.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    new = {name for name in after if name not in before}
    assert new
    assert all(name.startswith("second_identity_projection.") for name in new)
    changed = {
        key for key, value in of_two.config.items() if not key.startswith("_") and of_one.config[key] != value
    }
    assert changed == {"second_recogniser"}
    first = of_one.identity_tokens_of(tiny.identities(1))
    both = of_two.identity_tokens_of(torch.cat([tiny.identities(1), tiny.identities(1)], 1))
    assert both.shape == (1, 2, *first.shape[1:])
    assert torch.equal(both[:, 0], first)
