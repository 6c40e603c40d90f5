"""Distilling on tiny models: what trains, what the loss is, and that features come to say what codes say."""

import pytest
import torch
from tests.training.running import assert_exact_resumption, changed_by, steps, weights_of

from emoji_adapter.training.config import AugmentationConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.session import open_session

UNCHANGED = AugmentationConfig(brightness=0, contrast=0, saturation=0, hue=0, rotation=0, scale=0, shift=0)
BATCH = 6


@pytest.fixture
def make_session(settings, start, data):
    def make(**changes):
        changes = {"stage": "distil", "start": start, "batch": BATCH, "augmentation": UNCHANGED} | changes
        return open_session(settings(**changes), data, "cpu")

    return make


def loss_rows(session):
    rows = session.data.sample(BATCH, seeded(torch.Generator(), 5))
    return session.stage.loss(session.models, rows, StepDraw(seeded(torch.Generator(), 6), (5,)))


def test_exactly_the_resampler_changes(make_session):
    session = make_session()
    assert changed_by(session, 2) == weights_of(session, "expression_resampler")


def test_no_unet_is_called(make_session, monkeypatch):
    session = make_session()
    monkeypatch.setattr(session.pipe.unet, "forward", lambda *a, **k: pytest.fail("the U-Net was called"))
    steps(session, 1)


def test_the_loss_is_nothing_where_features_say_what_codes_say(make_session, monkeypatch):
    session = make_session()
    assert (loss_rows(session) > 0).all()
    adapter, codes = session.state.adapter, {}
    tokens_of = adapter.blendshape_tokens_of
    monkeypatch.setattr(adapter, "blendshape_tokens_of", lambda b: codes["tokens"])
    rows = session.data.sample(BATCH, seeded(torch.Generator(), 5))
    codes["tokens"] = tokens_of(rows.blendshapes.float())
    monkeypatch.setattr(adapter.expression_resampler, "forward", lambda features: codes["tokens"])
    torch.testing.assert_close(loss_rows(session), torch.zeros(BATCH))


@pytest.mark.parametrize("target", ["codes", "picture"])
def test_tokens_come_to_tell_what_is_asked_for(make_session, target):
    session = make_session(distil=target, learning_rate=3e-3, warmup=1, steps=40)
    before = loss_rows(session).mean()
    steps(session, 40)
    assert loss_rows(session).mean() < 0.6 * before


def test_the_result_reads_features_alone(make_session):
    assert make_session().state.adapter.config["expression_teacher"] is None


def test_a_run_interrupted_and_resumed_ends_with_the_same_weights(settings, start, data, tmp_path):
    run = settings(stage="distil", start=start, steps=2, batch=2, checkpoint_every=1, log_every=1)
    assert_exact_resumption(run, data, tmp_path, ())
