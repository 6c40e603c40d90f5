"""The LoRA of the identity branch: it trains, is saved in the same file, and acts where an identity does."""

import dataclasses

import pytest
import torch

from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.models.identity_lora import LORA_NAME
from emoji_adapter.training.loop import train, train_step
from emoji_adapter.training.resumption import changed_settings
from emoji_adapter.training.session import open_session


@pytest.fixture
def with_lora(settings):
    """Settings of a fresh adapter with a LoRA."""

    def make(**changes):
        return settings(adapter=dataclasses.replace(settings().adapter, identity_lora_rank=2), **changes)

    return make


def lora_of(adapter):
    return {n: p.detach().clone() for n, p in adapter.named_parameters() if n.startswith("identity_lora.")}


def test_it_trains_with_the_identity_and_previews_do_not_stop_it(with_lora, data, tmp_path):
    run = {"data": data, "out": tmp_path / "run", "device": "cpu"}
    settings = with_lora(steps=2, preview_every=1, checkpoint_every=1)
    folder = train(settings, **run)
    trained = lora_of(load_adapter(folder))
    ups = [name for name in trained if name.endswith(".up")]
    assert len(ups) == 4 * len(load_adapter(folder).config["identity_layers"])
    assert all(trained[name].abs().max() > 0 for name in ups)
    (tmp_path / "run" / "checkpoints" / "step-00000002.safetensors").unlink()
    resumed = train(settings, **run, resume=True)
    again = lora_of(load_adapter(resumed))
    assert all(torch.equal(again[name], value) for name, value in trained.items())


def test_it_acts_while_stepping_and_lies_idle_otherwise(with_lora, data):
    session = open_session(with_lora(), data, "cpu")
    adapter, unet = session.state.adapter, session.pipe.unet
    names = [name for name in session.state.parameters if name.startswith("identity_lora.")]
    assert names == list(lora_of(adapter))
    with session.lora():
        layer = unet.get_submodule(adapter.identity_lora.targets()[0])
        assert layer.active_adapters == [LORA_NAME]
        shared = layer.lora_A[LORA_NAME].weight
        assert any(shared is parameter for parameter in session.state.parameters.values())
    assert layer.active_adapters == []
    train_step(session)
    assert all(p.grad is None for n, p in unet.named_parameters() if LORA_NAME not in n)


def test_it_is_frozen_and_acts_while_the_expression_trains(with_lora, settings, data, tmp_path):
    start = train(with_lora(steps=1), data, tmp_path, device="cpu")
    session = open_session(settings(stage="expression", start=str(start)), data, "cpu")
    before = lora_of(session.state.adapter)
    first = train_step(session)["loss"]
    assert all(torch.equal(before[name], value) for name, value in lora_of(session.state.adapter).items())
    idle = open_session(settings(stage="expression", start=str(start)), data, "cpu")
    with torch.no_grad():
        for name, parameter in idle.state.adapter.named_parameters():
            if name.startswith("identity_lora.") and name.endswith(".up"):
                parameter.mul_(50.0)
    assert not torch.equal(train_step(idle)["loss"], first)


def test_a_run_that_began_before_the_setting_existed_can_be_resumed(settings):
    from emoji_adapter.config import to_mapping

    before = to_mapping(settings())
    del before["adapter"]["identity_lora_rank"]
    assert changed_settings(before, settings()) == []
    changed = settings(adapter=dataclasses.replace(settings().adapter, identity_lora_rank=2))
    assert changed_settings(before, changed) == ["adapter"]
