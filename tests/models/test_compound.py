"""Compound embeddings: a code beside patch features, a second recogniser's embedding beside the first's."""

import pytest
import torch

import tiny
from emoji_adapter.checkpoints.stock import stock_ip_adapters
from emoji_adapter.errors import AdapterMismatchError, InputError
from emoji_adapter.models.compound import first_embedding, with_one_alone
from emoji_adapter.models.projection import embedding_tokens

WIDTH = 60


@pytest.fixture(scope="module")
def adapter():
    return tiny.adapter(tiny.unet(), expression_dim=WIDTH, expression_teacher="micro")


@pytest.fixture(scope="module")
def embeds():
    """Features of six patches, and a code in the seventh row."""
    made = torch.randn(3, 7, WIDTH, generator=torch.Generator().manual_seed(0))
    made[:, -1] = 0
    made[:, -1, :52] = torch.rand(3, 52, generator=torch.Generator().manual_seed(1))
    return made


def test_the_tokens_are_those_of_the_code_and_those_of_the_features(adapter, embeds):
    tokens = adapter.expression_tokens_of(embeds)
    code, features = tokens.chunk(2, dim=1)
    assert torch.equal(code, adapter.blendshape_tokens_of(embeds[:, -1, :52]))
    assert torch.equal(features, adapter.expression_resampler(embeds[:, :-1]))


def test_features_alone_are_refused_in_words(adapter, embeds):
    with pytest.raises(AdapterMismatchError, match=r"takes compound embeddings.*got features alone"):
        adapter.expression_tokens_of(embeds[:, :-1])


def test_it_is_saved_with_the_adapter(adapter, tmp_path):
    adapter.save_pretrained(tmp_path)
    assert type(adapter).from_pretrained(tmp_path).config["expression_teacher"] == "micro"


@pytest.fixture(scope="module")
def of_two():
    return tiny.adapter(tiny.unet(), second_recogniser="micro")


PEOPLE, AGAIN = tiny.identities(3), tiny.identities(3, seed=4)


def test_the_tokens_are_those_of_both_embeddings_whatever_their_lengths(of_two):
    tokens = of_two.identity_tokens_of(torch.cat([7 * PEOPLE, 0.1 * AGAIN], dim=1))
    first, second = tokens.unbind(1)
    assert first.shape == (3, tiny.SIZES["identity_tokens"], tiny.CROSS_DIM)
    projections = of_two.identity_projection, of_two.second_identity_projection
    for found, projection, embeds in zip((first, second), projections, (PEOPLE, AGAIN), strict=True):
        torch.testing.assert_close(found, embedding_tokens(projection, of_two.config, embeds, None))


def test_an_embedding_of_one_recogniser_is_refused_in_words_and_the_other_way_round(of_two):
    with pytest.raises(AdapterMismatchError, match=r"\[batch, 1024\].*got \[3, 512\].*encode_identity"):
        of_two.identity_tokens_of(PEOPLE)
    with pytest.raises(AdapterMismatchError, match=r"\[batch, 512\], got \[3, 1024\]"):
        tiny.adapter(tiny.unet()).identity_tokens_of(torch.cat([PEOPLE, AGAIN], dim=1))


def test_a_half_that_is_lost_is_replaced_by_the_other_one(of_two):
    tokens = of_two.identity_tokens_of(torch.cat([PEOPLE, AGAIN], dim=1))
    first, second = tokens.unbind(1)
    found = with_one_alone(tokens, torch.tensor([0, 1, 2]))
    wanted = [torch.stack(pair) for pair in ((first[0], second[0]), (first[1],) * 2, (second[2],) * 2)]
    assert torch.equal(found, torch.stack(wanted))


@torch.no_grad()
def test_the_mean_of_both_halves_acts_however_long_their_keys(of_two):
    first, second = of_two.identity_tokens_of(torch.cat([PEOPLE, AGAIN], dim=1)).unbind(1)
    unet = tiny.unet()
    attn = unet.get_submodule(of_two.layers[0])
    hidden, text = torch.randn(3, 16, attn.query_dim), torch.randn(3, 5, tiny.CROSS_DIM)

    def added(tokens):
        kv = of_two(identity_tokens=tokens)
        told = attn(hidden, encoder_hidden_states=text, ip_hidden_states=kv)
        return told - attn(hidden, encoder_hidden_states=text)

    of_two.attach(unet)
    apart = [added(torch.stack([half, half], dim=1)) for half in (first, 9 * second)]
    both = added(torch.stack([first, 9 * second], dim=1))
    of_two.detach(unet)
    assert apart[0].abs().max() > 1e-4
    torch.testing.assert_close(both, (apart[0] + apart[1]) / 2, rtol=1e-4, atol=1e-6)


def test_an_adapter_without_a_second_recogniser_is_what_it_was(of_two):
    """The same seed gives the same projections: nothing is drawn for a part that is not there."""
    plain = tiny.adapter(tiny.unet())
    assert plain.second_identity_projection is None
    of_one = {name for name in of_two.state_dict() if not name.startswith("second_identity_projection")}
    assert plain.state_dict().keys() == of_one
    for name in ("identity_projection", "expression_resampler", "blendshape_projection"):
        ours, theirs = getattr(plain, name).state_dict(), getattr(of_two, name).state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_others_are_given_the_first_embedding(of_two):
    both = torch.cat([PEOPLE, AGAIN], dim=1)
    assert torch.equal(first_embedding(of_two.config, both), PEOPLE)
    assert first_embedding(tiny.adapter(tiny.unet()).config, PEOPLE) is PEOPLE


def test_what_cannot_stand_beside_a_second_recogniser_is_refused(of_two):
    with pytest.raises(
        InputError, match=r"got an adapter that reads no identity\. Leave second_recogniser out"
    ):
        tiny.adapter(tiny.unet(), second_recogniser="micro", identity_dim=None)
    with pytest.raises(InputError, match="reads CLIP features of the face"):
        tiny.adapter(tiny.unet(), second_recogniser="micro", identity_features_dim=64)
    with pytest.raises(AdapterMismatchError, match=r"of two recognisers \('micro' and 'micro'\)"):
        stock_ip_adapters(of_two, tiny.unet())
