"""Each stage: what trains, that it learns, and what the U-Net is told."""

import pytest
import torch
from diffusers import DDIMScheduler
from tests.training.running import changed_by, steps, weights_of

import tiny
from emoji_adapter.data.latents import weights_hash
from emoji_adapter.errors import AdapterMismatchError, DataError, InputError
from emoji_adapter.models.adapter import is_adapter_parameter
from emoji_adapter.training import session as session_module
from emoji_adapter.training.conditions import Conditions
from emoji_adapter.training.config import DropConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.session import open_session


@pytest.fixture(params=["identity", "expression"])
def stage(request):
    return request.param


@pytest.fixture
def make_session(settings, data, identity_adapter):
    def make(stage, **changes):
        if stage == "expression":
            changes["start"] = str(identity_adapter)
        return open_session(settings(stage=stage, **changes), data, "cpu")

    return make


def loss_rows(session, number=0, batch=32):
    """Losses of the same rows, noise and timesteps whenever it is called."""
    rows = session.data.sample(batch, seeded(torch.Generator(), 5, number))
    draw = StepDraw(seeded(torch.Generator(), 6, number), (5, number))
    return session.stage.loss(session.models, rows, draw), rows


def test_exactly_the_parameters_of_the_branch_change(make_session, stage):
    session = make_session(stage, steps=8)
    unet = weights_hash(session.pipe.unet)
    assert changed_by(session, 4) == weights_of(session, stage)
    assert weights_hash(session.pipe.unet) == unet


def test_nothing_but_the_branch_has_gradients_and_the_unet_is_in_eval(make_session, stage):
    session = make_session(stage)
    loss, _ = loss_rows(session)
    loss.mean().backward()
    for component in (session.pipe.unet, session.pipe.vae, session.pipe.text_encoder):
        assert not component.training
        assert not any(p.requires_grad or p.grad is not None for p in component.parameters())
    assert not any(p.requires_grad for p in session.models.expression_encoder.model.parameters())
    trained = {name for name, p in session.state.adapter.named_parameters() if p.requires_grad}
    assert trained == {name for name in session.state.parameters if is_adapter_parameter(name, stage)}


def test_gradient_checkpointing_computes_twice_and_changes_neither_loss_nor_gradients(make_session, stage):
    found, calls = {}, {False: 0, True: 0}
    for on in calls:
        session = make_session(stage, gradient_checkpointing=on)

        def count(*_, on=on):
            calls[on] += 1

        block = session.pipe.unet.mid_block.attentions[0].transformer_blocks[0]
        with block.register_forward_pre_hook(count):  # a second forward may stop early, before its hooks
            loss, _ = loss_rows(session, batch=3)
            loss.mean().backward()
        found[on] = {name: parameter.grad for name, parameter in session.state.parameters.items()}
        found[on]["loss"] = loss.detach()
    assert calls == {False: 1, True: 2}
    with_gradient = {name for name, value in found[False].items() if value is not None}
    assert any(name.startswith("to_v") for name in with_gradient)
    assert {name for name, value in found[True].items() if value is not None} == with_gradient
    assert [name for name in with_gradient if not torch.equal(found[False][name], found[True][name])] == []


def test_the_loss_goes_down_in_twenty_steps(make_session, stage):
    session = make_session(stage, steps=20, batch=16)
    with torch.no_grad():
        before = loss_rows(session)[0].mean()
    steps(session, 20)
    with torch.no_grad():
        after = loss_rows(session)[0].mean()
    assert after < 0.97 * before


def test_with_zero_terminal_snr_and_v_prediction_losses_are_finite(make_session, stage):
    session = make_session(stage, min_snr_gamma=5.0)
    scheduler = DDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    diffusion = type(session.models.diffusion).from_scheduler(scheduler)
    object.__setattr__(session.models, "diffusion", diffusion)
    object.__setattr__(
        diffusion, "alphas_cumprod", torch.zeros_like(diffusion.alphas_cumprod)
    )  # every t the last
    loss, _ = loss_rows(session)
    loss.mean().backward()
    assert torch.isfinite(loss).all()


@pytest.mark.parametrize(
    ("drops", "text", "acts"),
    [
        (DropConfig(text=0.0), True, True),
        (DropConfig(text=1.0), False, True),
        (DropConfig(text=0.0, everything=1.0), False, False),
    ],
)
def test_dropped_conditions_do_not_reach_the_unet(make_session, identity_adapter, stage, drops, text, acts):
    session = make_session(stage, drops=drops, start=str(identity_adapter))
    captured = {}

    def capture(module, arguments, keywords):
        captured["text"] = arguments[2]
        captured["kv"] = keywords["cross_attention_kwargs"]["ip_hidden_states"]

    session.pipe.unet.register_forward_pre_hook(capture, with_kwargs=True)
    with torch.no_grad():
        _, rows = loss_rows(session, batch=4)
    expected = rows.text if text else rows.empty.expand_as(rows.text)
    assert torch.equal(captured["text"], expected.float())
    identity = torch.cat([kv.v_identity.flatten() for kv in captured["kv"].values()])
    assert bool(identity.abs().max() > 0) is acts


def test_dropping_everything_is_the_plain_unet_and_trains_nothing(make_session, stage):
    session = make_session(stage, drops=DropConfig(text=0.0, everything=1.0))
    loss, _ = loss_rows(session)
    loss.mean().backward()
    gradients = [p.grad for p in session.state.parameters.values() if p.grad is not None]
    assert not any(gradient.abs().max() > 0 for gradient in gradients)
    session.pipe.unload_emoji_adapter()
    plain, _ = loss_rows(session)
    torch.testing.assert_close(plain, loss, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("share", "module"), [(1.0, "blendshape_projection"), (0.0, "expression_resampler"), (0.5, None)]
)
def test_the_share_of_blendshapes_decides_which_projection_learns(make_session, share, module):
    session = make_session("expression", blendshape_share=share)
    steps(session, 2)  # values start at zero, so tokens have no gradient in the first step
    loss, _ = loss_rows(session, batch=4)
    loss.mean().backward()
    learned = {
        name.split(".")[0]
        for name, p in session.state.parameters.items()
        if p.grad is not None and p.grad.abs().max() > 0
    } & {"blendshape_projection", "expression_resampler"}
    assert learned == ({module} if module else {"blendshape_projection", "expression_resampler"})


def test_compound_rows_have_both_kinds_of_tokens_and_the_others_their_own_twice(make_session, data):
    session = make_session("expression")
    rows = data.sample(8, seeded(torch.Generator(), 1))
    adapter, encoder = session.state.adapter, session.models.expression_encoder
    features = encoder.patch_features(rows.crops.permute(0, 3, 1, 2).float() / 255)
    conditions = Conditions(
        text=rows.text,
        identity=rows.identity.float(),
        identity_scale=torch.ones(8),
        blendshapes=rows.blendshapes[:5].float(),
        features=features[3:],
        expression_scale=torch.ones(8),
    )
    told = session.models.conditioner(conditions)
    codes = adapter.blendshape_tokens_of(rows.blendshapes.float())
    pictures = adapter.expression_tokens_of(features)
    first = torch.cat([codes[:5], pictures[5:]])
    second = torch.cat([codes[:3], pictures[3:]])
    wanted = adapter(adapter.identity_tokens_of(rows.identity.float()), torch.cat([first, second], dim=1))
    for layer, parts in told.items():
        torch.testing.assert_close(parts.k_expression, wanted[layer].k_expression)
        torch.testing.assert_close(parts.v_expression, wanted[layer].v_expression)
    once = adapter(None, codes)
    for parts, single in zip(told.values(), once.values(), strict=True):
        query = torch.randn(8, 4, parts.k_expression.shape[-1], generator=torch.Generator().manual_seed(2))
        heard = [
            torch.nn.functional.scaled_dot_product_attention(query, kv.k_expression, kv.v_expression)
            for kv in (parts, single)
        ]
        torch.testing.assert_close(heard[0][:3], heard[1][:3], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(heard[0][3:5], heard[1][3:5], atol=1e-3)


def test_compound_training_makes_an_adapter_that_reads_both(settings, data, tmp_path):
    """The tiny encoder's features are narrower than a code."""
    wide = tiny.adapter(tiny.unet(), expression_dim=60)
    session_module._make_compound(wide, "micro")
    assert wide.config["expression_teacher"] == "micro"
    narrow = tiny.adapter(tiny.unet())
    with pytest.raises(InputError, match=r"takes features of 20 and codes of 52 numbers"):
        session_module._make_compound(narrow, "micro")
    assert narrow.config["expression_teacher"] is None
    with pytest.raises(InputError, match=r"add up to at most 1, got 0\.6 and 0\.5"):
        settings(blendshape_share=0.6, compound_share=0.5)


@pytest.mark.parametrize("shares", [(0.3, 0.5), (0.0, 1.0)])
def test_the_expression_stage_draws_compound_rows(make_session, monkeypatch, shares):
    monkeypatch.setattr(session_module, "_make_compound", lambda adapter, teacher: None)
    session = make_session("expression", blendshape_share=shares[0], compound_share=shares[1])
    seen = []
    session.models.conditioner.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    loss_rows(session, batch=10)
    assert len(seen[0].blendshapes) == 10 * sum(shares)
    assert len(seen[0].features) == 10 * (1 - shares[0])


def test_the_expression_stage_keeps_the_identity_active(make_session):
    session = make_session("expression")
    with torch.no_grad():
        with_identity, _ = loss_rows(session)
        for projection in session.state.adapter.to_v_identity.parameters():
            projection.zero_()
        without, _ = loss_rows(session)
    assert not torch.equal(with_identity, without)


@pytest.mark.parametrize("stage", ["identity", "expression"])
def test_only_the_chosen_layers_hold_and_train_an_expression_branch(make_session, stage):
    session = make_session(stage, layers=("mid_block",))
    config = session.state.adapter.config
    (layer,) = config["expression_layers"]
    assert layer.startswith("mid_block")
    assert len(config["identity_layers"]) > 1
    held = [name for name in session.state.adapter.state_dict() if name.startswith("to_v_expression")]
    assert held == [f"to_v_expression.{layer}.weight"]
    assert (held[0] in session.state.parameters) is (stage == "expression")


def test_another_autoencoder_than_the_sets_is_refused(settings, data):
    import dataclasses

    other = dataclasses.replace(data, meta=dataclasses.replace(data.meta, vae_hash="0" * 16))
    with pytest.raises(DataError, match="prepared with the autoencoder 0000"):
        open_session(settings(), other, "cpu")


def test_an_adapter_of_another_recogniser_is_refused(settings, data, identity_adapter):
    import dataclasses

    other = dataclasses.replace(data, meta=dataclasses.replace(data.meta, identity_encoder="buffalo_l"))
    with pytest.raises(DataError, match="trained with the identity encoder micro"):
        open_session(settings(start=str(identity_adapter)), other, "cpu")


def test_an_adapter_for_another_unet_is_refused(settings, data, tmp_path):
    import tiny

    tiny.adapter(tiny.unet(cross_attention_dim=48)).save_pretrained(tmp_path)
    with pytest.raises(AdapterMismatchError):
        open_session(settings(start=str(tmp_path)), data, "cpu")
