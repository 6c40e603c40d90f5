"""Takes on tiny models: pairs are pairs, a network that knows has no loss, what learns from it."""

import dataclasses

import pytest
import torch
from tests.training.running import assert_exact_resumption, changed_by, steps, weights_of

from emoji_adapter.data.dataset import People
from emoji_adapter.data.folder import sitting_of
from emoji_adapter.errors import DataError, InputError
from emoji_adapter.models.adapter import is_adapter_parameter
from emoji_adapter.training.config import TakesConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.noised import Noised
from emoji_adapter.training.session import open_session
from emoji_adapter.training.takes import alike_but_for_the_template

BATCH = 4


@pytest.fixture(scope="module")
def sittings(data):
    """The set with rows of a person taken two by two; the third is alone."""
    names = [f"{row // 3}/{row % 3 // 2}" for row in range(len(data))]
    return dataclasses.replace(data, sittings=People.of(names))


@pytest.fixture
def make_session(settings, start, sittings):
    def make(**takes):
        terms = TakesConfig(**{"share": 1.0} | takes)
        config = settings(stage="takes", start=start, batch=BATCH, takes=terms, face_weight=2.0)
        return open_session(config, sittings, "cpu")

    return make


def loss_rows(session):
    rows = session.data.sample(BATCH, seeded(torch.Generator(), 5), takes=True)
    return session.stage.loss(session.models, rows, StepDraw(seeded(torch.Generator(), 6), (5,)))


@pytest.mark.parametrize(
    ("picture", "sitting"),
    [("anna/0001", "anna/0001"), ("anna/film~0001", "anna/film"), ("a~b/film~2", "a~b/film"), ("~x", "~x")],
)
def test_takes_of_a_sitting_are_told_by_their_names(picture, sitting):
    assert sitting_of(picture) == sitting


def test_rows_come_as_pairs_of_one_sitting(sittings):
    rows = sittings.sample(64, torch.Generator().manual_seed(0), takes=True)
    index = [(sittings.latents == latent).flatten(1).all(1).nonzero().item() for latent in rows.latents]
    pairs = set(zip(index[::2], index[1::2], strict=True))
    assert {tuple(sorted(pair)) for pair in pairs} == {(0, 1), (3, 4), (6, 7), (9, 10)}
    assert len(pairs) == 8


def test_a_set_without_takes_is_refused(data, sittings):
    with pytest.raises(DataError, match="of which this set has 0"):
        data.sample(4, torch.Generator(), takes=True)
    with pytest.raises(DataError, match="an even batch is needed, got 3"):
        sittings.sample(3, torch.Generator(), takes=True)


def test_a_network_that_knows_both_pictures_has_no_loss(make_session, monkeypatch):
    session = make_session()
    assert loss_rows(session).min() > 1e-3

    def knows(part, models):
        return lambda x_t, t: models.diffusion.informed(x_t, part.x_0, t)

    monkeypatch.setattr(Noised, "calls", knows)
    assert loss_rows(session).abs().max() < 1e-6


def test_both_takes_are_told_the_same_but_for_the_template(sittings):
    rows = sittings.sample(BATCH, torch.Generator().manual_seed(0), takes=True)
    rows = dataclasses.replace(rows, identity=torch.randn(BATCH, 512))
    same = alike_but_for_the_template(rows, torch.tensor([0, 2]))
    for name in ("text", "identity"):
        given = getattr(same, name)
        assert torch.equal(given[1::2], given[::2])
        assert torch.equal(given[::2], getattr(rows, name)[::2])
    assert torch.equal(same.crops, rows.crops)
    assert not torch.equal(same.crops[::2], same.crops[1::2])


def test_the_network_sees_the_same_noised_picture_twice(make_session, monkeypatch):
    session, seen = make_session(), []
    usual = Noised.calls

    def watched(part, models):
        def call(x_t, t):
            seen.append((x_t, t))
            return usual(part, models)(x_t, t)

        return call

    monkeypatch.setattr(Noised, "calls", watched)
    loss_rows(session)
    ((x_t, t),) = seen
    assert torch.equal(x_t[:2], x_t[2:])
    assert torch.equal(t[:2], t[2:])
    assert 450 <= t.min() <= t.max() < 980


def test_without_the_expression_nothing_of_the_difference_is_explained(make_session):
    session = make_session()
    told = loss_rows(session)
    with torch.no_grad():
        for name, parameter in session.state.adapter.named_parameters():
            if is_adapter_parameter(name, "expression") and "to_v" in name:
                parameter.zero_()
    silent = loss_rows(session)
    assert not torch.allclose(silent, told)
    session.models.unet.conv_out.weight.data.zero_()  # whatever the network says, it says it twice
    torch.testing.assert_close(loss_rows(session), silent)


def test_exactly_the_expression_branch_learns(make_session):
    session = make_session(share=0.5)
    assert changed_by(session, 1) == weights_of(session, "expression")
    assert session.stage.figures.keys() == {"diffusion", "difference"}


def test_steps_lower_the_difference(make_session):
    session = make_session()
    first = loss_rows(session).mean().item()
    steps(session, 6)
    assert loss_rows(session).mean().item() < first


def test_a_run_interrupted_and_resumed_ends_with_the_same_weights(settings, start, sittings, tmp_path):
    run = settings(stage="takes", start=start, batch=BATCH, steps=2, checkpoint_every=1, log_every=1)
    assert_exact_resumption(run, sittings, tmp_path, ("diffusion", "difference"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 0.0}, "share must lie"),
        ({"weight": -1.0}, "at least 0"),
        ({"low": 0.0}, "0 < low < high"),
        ({"low": 0.9, "high": 0.8}, "0 < low < high"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        TakesConfig(**wrong)
