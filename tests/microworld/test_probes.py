"""Linear probes find what is there and nothing else."""

import pytest
import torch

import tiny_prepared
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.microworld.probes import (
    PEOPLE,
    Ridges,
    _people_apart,
    accuracy,
    encoder_probes,
    token_probes,
)
from emoji_adapter.models.adapter import EmojiAdapter
from tiny import SIZES

COUNT = 200


class Silent(EmojiAdapter):
    """Its tokens are the same for all faces."""

    def expression_tokens_of(self, features):
        return torch.zeros(len(features), 2, 3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tiny_prepared.expression_encoder(tmp_path_factory.mktemp("encoder") / "encoder")
    return ExpressionEncoder.from_pretrained(folder, crop=tiny_prepared.CROP)


def test_ridge_finds_a_planted_map():
    x = torch.randn(60, 100, generator=torch.Generator().manual_seed(0))
    weak, strong = Ridges(x, [1e-4, 10.0]).weights(x[:, :3] + 2)
    assert accuracy(x @ weak[:-1].float() + weak[-1].float(), x[:, :3].argmax(1)) == 1.0
    assert strong[:-1].norm() < 0.2 * weak[:-1].norm()


@pytest.mark.parametrize("rows", [12, 80])
def test_ridge_is_the_same_in_both_forms(rows):
    x = torch.randn(rows, 30, generator=torch.Generator().manual_seed(0))
    y, ones = x[:, :2] - 1, torch.ones(rows, 1)
    wide = torch.cat([x, ones], dim=1).double()
    penalty = 0.1 * wide.square().sum(1).mean()
    expected = torch.linalg.solve(wide.T @ wide + penalty * torch.eye(31).double(), wide.T @ y.double())
    (found,) = Ridges(x, [0.1]).weights(y)
    torch.testing.assert_close(found, expected)


def test_people_are_apart_where_expressions_are_told():
    who = torch.randint(PEOPLE, (500,), generator=torch.Generator().manual_seed(0))
    groups = [set(who[group].tolist()) for group in _people_apart(who)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == PEOPLE


def test_features_beside_tokens(encoder):
    torch.manual_seed(0)
    adapter = EmojiAdapter(cross_attention_dim=32, **SIZES)
    found = token_probes(encoder, adapter, size=32, count=COUNT)
    assert list(found) == ["features", "tokens"]
    assert found["features"]["columns"] == 4 * SIZES["expression_dim"]
    assert found["tokens"]["columns"] == SIZES["expression_tokens"] * 32
    assert found["features"]["style_accuracy"] > 0.3
    assert encoder_probes(encoder, size=32, count=COUNT).keys() < found["tokens"].keys()


def test_tokens_that_say_nothing_are_at_chance(encoder):
    figures = token_probes(encoder, Silent(cross_attention_dim=32, **SIZES), size=32, count=COUNT)["tokens"]
    assert figures["identity_accuracy"] < 0.15
    assert figures["expression_accuracy"] < 0.25
    assert figures["expression_r2"] < 0.05
