"""Feedback on tiny models: it draws as the pipeline does, what learns from it, what counts."""

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from tests.training.running import assert_exact_resumption, changed_by, weights_of

from emoji_adapter.errors import DataError, InputError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.training.config import DropConfig, FeedbackConfig
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.feedback import Sampler, divergence, with_others_templates
from emoji_adapter.training.losses import Diffusion
from emoji_adapter.training.session import open_session
from emoji_adapter.types import Face

FEW = FeedbackConfig(share=0.5, steps=3, graded_steps=2)
BATCH = 4


class Finder:
    """Finds a face in every second picture, or in as many as it is told."""

    def __init__(self, every=1):
        self.every, self.seen = every, 0

    def detect(self, picture):
        assert picture.dtype == np.uint8
        assert picture.shape == (16, 16, 3)
        self.seen += 1
        if not self.every or self.seen % self.every:
            return []
        points = np.array([[5, 6], [11, 6], [8, 9], [6, 12], [10, 12]], np.float32)
        return [Face(np.array([2, 2, 14, 15], np.float32), points, 0.9)]


@pytest.fixture
def make_session(settings, start, data):
    def make(terms=FEW, every=1, **changes):
        changes = {"stage": "feedback", "start": start, "batch": BATCH, "feedback": terms} | changes
        session = open_session(settings(**changes), data, "cpu")
        session.stage.analyzer = Finder(every)
        return session

    return make


def loss_rows(session, number=0):
    """Losses of the same rows and draws whenever it is called."""
    rows = session.data.sample(BATCH, seeded(torch.Generator(), 5, number))
    return session.stage.loss(
        session.models, rows, StepDraw(seeded(torch.Generator(), 6, number), (5, number))
    )


@pytest.mark.parametrize("sure", [-9.0, 0.0, 9.0])
@pytest.mark.parametrize("wanted", [0.0, 0.3, 1.0])
def test_a_sure_teacher_is_heard_as_well_as_an_unsure_one(sure, wanted):
    before_the_sigmoid = torch.tensor(sure, requires_grad=True)
    read = before_the_sigmoid.sigmoid()
    divergence(read, torch.tensor(wanted)).backward()
    torch.testing.assert_close(before_the_sigmoid.grad, read.detach() - wanted, atol=1e-3, rtol=0)


def test_the_divergence_is_0_where_both_agree_and_finite_where_they_cannot_differ_more():
    read, wanted = torch.tensor([0.0, 0.4, 1.0, 0.5, 0.0]), torch.tensor([0.0, 0.4, 1.0, 0.2, 1.0])
    found = divergence(read, wanted)
    assert found[:3].abs().max() < 1e-6
    assert 0 < found[3] < found[4] < 20


@pytest.mark.parametrize("guidance_scale", [1.0, 2.5])
def test_it_draws_what_the_pipeline_draws(make_session, guidance_scale):
    session = make_session()
    pipe, rows = session.pipe, session.data.sample(2, seeded(torch.Generator(), 5))
    pipe.scheduler = DDIMScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
    )
    noise = torch.randn(rows.latents.shape, generator=seeded(torch.Generator(), 1))
    drawn = pipe(
        prompt_embeds=rows.text.float(),
        negative_prompt_embeds=rows.empty.float().expand(2, -1, -1),
        identity_embeds=rows.identity.float(),
        latents=noise * pipe.scheduler.init_noise_sigma,
        num_inference_steps=4,
        guidance_scale=guidance_scale,
        output_type="latent",
    ).images
    diffusion = Diffusion.from_scheduler(pipe.scheduler)
    adapter = session.state.adapter
    kv = adapter(identity_tokens=adapter.identity_tokens_of(rows.identity.float()))

    def call(text, keys_values):
        carried = {"ip_hidden_states": keys_values}
        return lambda x, t: pipe.unet(x, t, text.float(), cross_attention_kwargs=carried)[0]

    told, untold = call(rows.text, kv), call(rows.empty.expand(2, -1, -1), {})
    with torch.no_grad():
        ours = Sampler(4, frozenset({1}), guidance_scale)(diffusion, told, told, untold, noise)
    torch.testing.assert_close(ours, drawn, atol=1e-3, rtol=1e-3)


def test_gradients_of_graded_steps_go_straight_to_the_end():
    """They are those of the linear part of the sampler; what later calls see has none."""
    diffusion = Diffusion(torch.linspace(0.99, 0.0, 100), "v_prediction")
    weights = torch.tensor([0.3, 0.5, 0.7, 0.9], requires_grad=True)
    noise, count = torch.ones(1, 1, 1, 1), iter(range(4))

    def graded(x, t):
        assert not x.requires_grad
        return weights[next(count)] * torch.tanh(x)

    def told(x, t):
        predicted = graded(x, t)
        assert not predicted.requires_grad
        return predicted

    clean = Sampler(4, frozenset({0, 2}), 1.0)(diffusion, graded, told, told, noise)
    clean.sum().backward()
    # by hand: x moves as cos(a) x - sin(a) v between angles of the noise
    angle = torch.arccos(diffusion.alphas_cumprod[[99, 74, 49, 24]].sqrt())
    turn = angle - torch.cat([angle[1:], torch.zeros(1)])
    states = [noise.squeeze()]
    for weight, a in zip(weights.detach(), turn, strict=True):
        states.append(a.cos() * states[-1] - a.sin() * weight * torch.tanh(states[-1]))
    torch.testing.assert_close(clean.squeeze(), states[-1])
    slopes = [-turn[k].sin() * turn[k + 1 :].cos().prod() * torch.tanh(states[k]) for k in range(4)]
    torch.testing.assert_close(weights.grad, torch.stack(slopes) * torch.tensor([1.0, 0.0, 1.0, 0.0]))


@pytest.mark.parametrize("branch", ["identity", "expression", "both"])
def test_exactly_the_branches_named_change(make_session, branch):
    session = make_session(dataclasses.replace(FEW, branch=branch))
    named = ["identity", "expression"] if branch == "both" else [branch]
    assert changed_by(session, 2) == weights_of(session, *named)


def test_templates_are_somebody_elses_where_it_is_drawn(data):
    rows = data.rows(torch.arange(6), torch.arange(6))
    changed = with_others_templates(rows, torch.tensor([4, 5, 0]))
    for row, source in enumerate([5, 1, 2, 3, 0, 4]):
        assert torch.equal(changed.crops[row], rows.crops[source])
        assert torch.equal(changed.blendshapes[row], rows.blendshapes[source])
    assert torch.equal(changed.identity, rows.identity)


def test_templates_may_be_the_persons_own(make_session, monkeypatch):
    module = "emoji_adapter.training.feedback.with_others_templates"
    monkeypatch.setattr(module, lambda rows, where: pytest.fail("asked for somebody else's"))
    loss_rows(make_session(dataclasses.replace(FEW, share=1.0, templates="own")))
    with pytest.raises(pytest.fail.Exception, match="somebody else's"):
        loss_rows(make_session(dataclasses.replace(FEW, share=1.0)))


def test_where_no_face_is_found_nothing_is_learnt(make_session):
    session = make_session(dataclasses.replace(FEW, share=1.0), every=0)
    losses = loss_rows(session)
    assert session.stage.figures["found"] == 0
    assert losses.tolist() == [0.0] * BATCH


def test_each_picture_counts_by_itself(make_session):
    session = make_session(dataclasses.replace(FEW, share=1.0), every=2)
    losses = loss_rows(session)
    assert session.stage.figures["found"] == 0.5
    assert (losses > 0).sum() == BATCH // 2


def test_a_condition_that_is_dropped_is_not_asked_for(make_session):
    session = make_session(dataclasses.replace(FEW, share=1.0), drops=DropConfig(text=0.0, expression=1.0))
    loss_rows(session)
    assert session.stage.figures["expression"] == 0
    assert session.stage.figures["identity"] > 0


def test_a_run_interrupted_and_resumed_ends_with_the_same_weights(
    settings, start, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(FaceAnalyzer, "detect", lambda analyzer, picture: Finder().detect(picture))
    run = settings(
        stage="feedback", start=start, feedback=FEW, steps=2, batch=2, checkpoint_every=1, log_every=1
    )
    assert_exact_resumption(run, data, tmp_path, ("diffusion", "found", "identity", "expression"))


def test_compiled_or_not_the_loss_is_the_same(make_session, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    quick = make_session(dataclasses.replace(FEW, compile=True))
    assert torch.equal(loss_rows(quick), loss_rows(make_session()))
    loss_rows(quick)
    assert compiled == [quick.pipe.unet]


def test_another_pack_than_the_sets_is_refused(make_session):
    with pytest.raises(DataError, match=r"feedback.teacher is 'other.onnx'"):
        make_session(dataclasses.replace(FEW, teacher="other.onnx"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share": 0.0}, r"feedback.share must lie in"),
        ({"graded_steps": 4}, r"graded_steps must lie between 1 and .* got 4 of 3"),
        ({"guidance_scale": 0.5}, r"guidance_scale must be at least 1, got 0.5"),
        ({"jitter": -1.0}, r"feedback.jitter must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(FEW, **changes)


def test_it_needs_an_adapter_to_start_from(settings):
    with pytest.raises(InputError, match="set start to the adapter of the expression stage"):
        settings(stage="feedback")
