"""Numbers beside captions: every number is told once, pairs are told alike, what is dropped is not heard."""

import pytest
import torch

from emoji_adapter.microworld.splits import pictures
from emoji_adapter.microworld.stages.language import WIDTH
from emoji_adapter.microworld.stages.numbers import DROPS, Numbers
from emoji_adapter.renderer.parameters import FaceParameters


@pytest.fixture(scope="module")
def faces() -> FaceParameters:
    return pictures("train", 64, 0).as_takes(2)


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    torch.manual_seed(0)
    return Numbers()


@pytest.mark.parametrize(
    ("field", "place"), [("expression", 0), ("identity", 1), ("pose", 2), ("light", 2), ("variation", 2)]
)
@torch.no_grad()
def test_every_number_moves_its_own_tokens_alone(
    numbers: Numbers, faces: FaceParameters, field: str, place: int
) -> None:
    before = numbers(faces)
    for column in range(getattr(faces, field).shape[1]):
        moved = getattr(faces, field).clone()
        moved[:, column] += 0.3
        after = numbers(faces.replace(**{field: moved}))
        told = [(a - b).abs().amax((0, 2)) > 1e-4 for a, b in zip(after, before, strict=True)]
        assert [bool(t.any()) for t in told] == [p == place for p in range(3)]
        assert told[place].sum() <= 2


@torch.no_grad()
def test_what_is_told_is_dropped_as_often_as_it_says(numbers: Numbers) -> None:
    many = pictures("train", 2000, 1)
    heard = numbers.beside(torch.zeros(2000, 5, WIDTH), many, torch.Generator().manual_seed(0))
    assert heard.mask is not None
    assert heard.states.shape[:2] == heard.mask.shape
    assert heard.mask[:, :5].all()
    expression, identity, scene = heard.mask[:, 5:15], heard.mask[:, 15:22], heard.mask[:, 22:]
    assert (expression == expression[:, :1]).all()
    assert (identity == identity[:, :1]).all()
    assert float((~expression[:, 0]).float().mean()) == pytest.approx(DROPS["expression"], abs=0.05)
    assert float((~identity[:, 0]).float().mean()) == pytest.approx(DROPS["identity"], abs=0.05)
    assert float((~scene).float().mean()) == pytest.approx(DROPS["scene"], abs=0.05)
    assert not torch.equal(scene[:, 0], scene[:, 1])


@torch.no_grad()
def test_pairs_are_told_alike_and_always_the_expression(numbers: Numbers, faces: FaceParameters) -> None:
    heard = numbers.beside(torch.zeros(64, 5, WIDTH), faces, torch.Generator().manual_seed(0), pairs=True)
    assert heard.mask is not None
    assert torch.equal(heard.mask[::2], heard.mask[1::2])
    assert heard.mask[:, :15].all()
    assert not heard.mask[:, 15:].all()
