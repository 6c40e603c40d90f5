"""Compound embeddings: a code beside patch features."""

import pytest
import torch

import tiny
from emoji_adapter.errors import AdapterMismatchError

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
