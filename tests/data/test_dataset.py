"""Rows drawn from a prepared set: stateless, with another picture of the same person."""

import json
from typing import Any

import pytest
import torch

import tiny
import tiny_prepared
from emoji_adapter.data.dataset import People, PreparedSet, check_models
from emoji_adapter.data.manifest import META
from emoji_adapter.errors import DataError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return PreparedSet.load(tiny_prepared.prepared(tmp_path_factory.mktemp("set")))


def test_another_picture_of_the_same_person_evenly_and_never_the_same():
    persons = ["a", "b", "a", "c", "b", "a", "a"]
    people = People.of(persons)
    index = torch.arange(7).repeat(3000)
    other = people.another(index, generator())
    pairs, counts = torch.stack([index, other], 1).unique(dim=0, return_counts=True)
    found = {tuple(pair): count for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)}
    expected = {(i, j) for i in range(7) for j in range(7) if persons[i] == persons[j] and (i != j or i == 3)}
    assert found.keys() == expected
    assert all(900 < found[i, j] < 1100 for i, j in expected if persons[i] == "a")
    assert people.alone == 1
    assert people.first_of_each().tolist() == [True, True, False, True, False, False, False]


def test_rows_depend_on_the_generator_only(data):
    first, again, other = (data.sample(5, generator(seed)) for seed in (1, 1, 2))
    absent = {"pooled", "empty_pooled", "second_identity"}  # of SDXL, and of a second recogniser
    assert {name for name, value in vars(first).items() if value is None} == absent
    for name in set(vars(first)) - absent:
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.latents, other.latents)


def test_a_row_is_of_one_piece(data):
    index, photo = torch.tensor([4, 0]), torch.tensor([5, 1])
    rows = data.rows(index, photo)
    assert torch.equal(rows.latents, data.latents[index])
    assert torch.equal(rows.crops, data.crops[index])
    assert torch.equal(rows.identity, data.identity[photo])
    parts = tiny.components()
    tokens = parts["tokenizer"](
        ["green", ""], padding="max_length", max_length=16, truncation=True, return_tensors="pt"
    )
    expected = parts["text_encoder"](tokens.input_ids)[0].detach()
    torch.testing.assert_close(rows.text[0].float(), expected[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(rows.empty.float(), expected[1], atol=2e-3, rtol=0)


def test_a_set_that_lost_rows_is_refused(tmp_path):
    folder = tiny_prepared.prepared(tmp_path)
    content = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(content | {"pictures": 13}))
    with pytest.raises(DataError, match="13 rows expected, its files hold"):
        PreparedSet.load(folder)


@pytest.mark.parametrize("what", ["vae_hash", "text_hash", "expression_crop"])
def test_other_models_than_it_was_prepared_with_are_refused(data, what):
    fitting: dict[str, Any] = {
        name: getattr(data.meta, name) for name in ("vae_hash", "text_hash", "expression_crop")
    }
    check_models(data.meta, **fitting)
    other = {"size": 5} if what == "expression_crop" else "other"
    with pytest.raises(DataError, match="prepared with the"):
        check_models(data.meta, **(fitting | {what: other}))
