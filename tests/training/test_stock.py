"""The stages of the opponent: each branch alone, and embeddings of zeros where a picture is dropped."""

import pytest
import torch
from tests.training.running import changed_by, weights_of

from emoji_adapter.training.config import DropConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.session import open_session

BRANCH = {"stock_identity": "identity", "stock_expression": "expression"}


class ToldError(Exception):
    """Carries what the conditioner was told."""


@pytest.fixture
def make_session(settings, data, identity_adapter):
    def make(stage, **changes):
        start = {"start": str(identity_adapter)} if BRANCH[stage] == "expression" else {}
        return open_session(settings(stage=stage, **start, **changes), data, "cpu")

    return make


def conditions(session, monkeypatch):
    def tell(told):
        raise ToldError(told)

    monkeypatch.setattr(session.models.conditioner, "forward", tell)
    rows = session.data.sample(8, seeded(torch.Generator(), 5))
    with pytest.raises(ToldError) as caught:
        session.stage.loss(session.models, rows, StepDraw(seeded(torch.Generator(), 6), (5, 0)))
    return caught.value.args[0], rows


@pytest.mark.parametrize("stage", BRANCH)
def test_only_its_branch_trains_and_the_picture_road_alone(make_session, stage):
    session = make_session(stage)
    branch = weights_of(session, BRANCH[stage])
    assert changed_by(session, 3) == {name for name in branch if not name.startswith("blendshape")}


def test_an_identity_is_dropped_to_zeros(make_session, monkeypatch):
    told, rows = conditions(make_session("stock_identity", drops=DropConfig(text=0, identity=1)), monkeypatch)
    assert told.identity.abs().max() == 0
    assert told.identity_scale.min() == 1
    assert torch.equal(told.text, rows.text)


def test_the_expression_branch_never_sees_an_identity(make_session, monkeypatch):
    told, _ = conditions(
        make_session("stock_expression", drops=DropConfig(text=0, expression=0.5)), monkeypatch
    )
    assert told.identity_scale.max() == 0
    assert told.expression_scale.min() == 1
    dropped = told.features.flatten(1).abs().amax(1) == 0
    assert 0 < int(dropped.sum()) < 8
    assert len(told.blendshapes) == 0
