"""Who belongs to which prompt, and when control acts."""

import numpy as np
import pytest
import torch

from emoji_adapter.errors import InputError
from emoji_adapter.pipelines.pairing import expressions_of, people_of, rows_of
from emoji_adapter.pipelines.window import ControlWindow


@pytest.mark.parametrize(
    ("pictures", "prompts", "people"),
    [
        ("a", 1, [["a"]]),
        ("a", 3, [["a"]]),
        (["a", "b"], 1, [["a", "b"]]),
        (["a", "b"], 2, [["a"], ["b"]]),
        ([["a", "b"]], 1, [["a", "b"]]),
        ([["a", "b"]], 3, [["a", "b"]]),
        ([["a", "b"], "c"], 2, [["a", "b"], ["c"]]),
        ([["a"], ["b", "c"]], 2, [["a"], ["b", "c"]]),
    ],
)
def test_pictures_of_people(pictures, prompts, people):
    assert people_of(pictures, prompts) == people


def test_an_array_is_one_picture():
    picture = np.zeros((4, 4, 3), np.uint8)
    assert people_of(picture, 2)[0][0] is picture
    assert expressions_of(picture, 2)[0] is picture


@pytest.mark.parametrize("pictures", [["a", "b"], [["a"], ["b"]], [["a"], []], [], [[], [], []]])
def test_people_that_cannot_be_paired_are_refused(pictures):
    with pytest.raises(InputError, match="identity_image"):
        people_of(pictures, 3)


def test_an_empty_list_is_refused_with_one_prompt_too():
    with pytest.raises(InputError, match="empty list"):
        people_of([], 1)


def test_one_expression_for_all_or_one_for_each():
    assert expressions_of("a", 3) == ["a"]
    assert expressions_of(["a", "b", "c"], 3) == ["a", "b", "c"]
    with pytest.raises(InputError, match="expression has 2 entries for 1 prompt; expected 1 or 1"):
        expressions_of(["a", "b"], 1)


def test_rows_are_in_the_order_of_the_prompt_embeddings():
    embeds = torch.tensor([[0.0], [1.0]])
    assert rows_of(embeds, 2, 3, "x").flatten().tolist() == [0, 0, 0, 1, 1, 1]
    assert rows_of(embeds[:1], 2, 2, "x").flatten().tolist() == [0, 0, 0, 0]
    with pytest.raises(InputError, match="identity_embeds has 2 entries for 3 prompts"):
        rows_of(embeds, 3, 1, "identity_embeds")
    with pytest.raises(InputError, match="not finite"):
        rows_of(torch.tensor([[float("nan")]]), 1, 1, "identity_embeds")


def test_the_window_covers_its_share_of_the_steps():
    def covered(start, end):
        return [step for step in range(10) if ControlWindow(start, end).covers(step, 10)]

    assert covered(0.0, 1.0) == list(range(10))
    assert covered(0.3, 0.6) == [3, 4, 5]
    assert covered(0.25, 1.0) == [3, 4, 5, 6, 7, 8, 9]
    assert ControlWindow().whole
    assert not ControlWindow(0.0, 0.5).whole


@pytest.mark.parametrize(("start", "end"), [(-0.1, 1), (0.5, 0.5), (0.6, 0.5), (0, 1.1), (float("nan"), 1)])
def test_a_window_that_is_none_is_refused(start, end):
    with pytest.raises(InputError, match="0 <= start < end <= 1"):
        ControlWindow(start, end)
