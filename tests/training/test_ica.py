"""ICA on tiny models with the embedded recogniser and teacher: what trains, what is seen, that it works."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from tests.training.running import assert_exact_resumption, changed_by, weights_of
from torch import nn

from emoji_adapter.data.latents import weights_hash
from emoji_adapter.errors import DataError, InputError
from emoji_adapter.faces.batched import align_batch
from emoji_adapter.training import ica, noised
from emoji_adapter.training.config import DropConfig, ICAConfig
from emoji_adapter.training.decoding import decode
from emoji_adapter.training.draws import StepDraw, seeded
from emoji_adapter.training.losses import Diffusion
from emoji_adapter.training.noised import Noised
from emoji_adapter.training.session import open_session

ALL_TERMS = ICAConfig(inverted_share=0.5, inversion_steps=1)
BATCH = 4


@pytest.fixture(scope="module")
def config(settings, start):
    def make(terms=ALL_TERMS, **changes):
        return settings(stage="ica", start=start, ica=terms, **changes)

    return make


@pytest.fixture
def make_session(config, data):
    return lambda terms=ALL_TERMS, **changes: open_session(config(terms, **changes), data, "cpu")


def loss_rows(session, number=0, batch=BATCH):
    """Losses of the same rows, noise and timesteps whenever it is called."""
    rows = session.data.sample(batch, seeded(torch.Generator(), 5, number))
    draw = StepDraw(seeded(torch.Generator(), 6, number), (5, number))
    return session.stage.loss(session.models, rows, draw)


def calls_of(session, **changes):
    """What the U-Net is told in each call of one loss: latents, timesteps, keys and values."""
    calls = []

    def note(module, arguments, keywords):
        calls.append((arguments[0], arguments[1], keywords["cross_attention_kwargs"]["ip_hidden_states"]))

    handle = session.pipe.unet.register_forward_pre_hook(note, with_kwargs=True)
    loss_rows(session, **changes)
    handle.remove()
    return calls


def test_exactly_the_expression_branch_changes_and_all_else_is_frozen(make_session):
    session = make_session()
    critics = session.stage.critics
    frozen = [session.pipe.unet, session.pipe.vae, critics.recogniser, critics.teacher]
    hashes = [weights_hash(network) for network in frozen[:2]]
    assert changed_by(session, 2) == weights_of(session, "expression")
    assert [weights_hash(network) for network in frozen[:2]] == hashes
    frozen.append(session.models.expression_encoder.model)
    assert not any(p.requires_grad or p.grad is not None for network in frozen for p in network.parameters())


def test_the_identity_branch_trains_alone_and_hears_no_expression(settings, data):
    """Without an adapter to start from, too."""
    terms = ICAConfig(branch="identity", share=1.0, contrast_weight=0.0, expression_weight=0.0)
    session = open_session(settings(stage="ica", ica=terms), data, "cpu")
    (call,) = calls_of(session)
    assert all(parts.k_expression is None and parts.v_identity.requires_grad for parts in call[2].values())
    assert set(session.stage.figures) == {"diffusion", "identity"}
    assert changed_by(session, 2) == weights_of(session, "identity")


def test_a_network_that_no_term_asks_is_not_loaded(make_session):
    terms = ICAConfig(pack="buffalo_l", identity_weight=0.0, contrast_weight=0.0)
    session = make_session(terms)  # the set is of another pack
    assert session.stage.critics.recogniser is None
    loss_rows(session).mean().backward()
    assert set(session.stage.figures) == {"diffusion", "expression"}


def test_timesteps_and_places_weigh_as_in_the_other_stages(make_session):
    terms = ICAConfig(share=1.0, cutoff=0.5, contrast_weight=0.0)
    plain = make_session(terms)
    late = make_session(terms, timestep_shift=3.0)
    t, t_late = (torch.cat([calls_of(s, number=n)[0][1] for n in range(8)]) for s in (plain, late))
    assert bool((t_late >= t).all())
    assert t_late.float().mean() > t.float().mean() + 60
    assert t_late.max() < 500
    losses = []
    for session in (plain, make_session(terms, face_weight=6.0)):
        loss_rows(session)
        losses.append(session.stage.figures)
    assert losses[0]["diffusion"] != losses[1]["diffusion"]
    assert losses[0]["identity"] == losses[1]["identity"]


def test_gradient_checkpointing_reaches_the_decoder_and_changes_no_gradient(make_session):
    gradients = {}
    for on in (False, True):
        session = make_session(gradient_checkpointing=on)
        assert session.pipe.vae.is_gradient_checkpointing is on
        loss_rows(session).mean().backward()
        gradients[on] = {name: parameter.grad for name, parameter in session.state.parameters.items()}
    assert gradients[False].keys() == gradients[True].keys()
    for name, gradient in gradients[False].items():
        same = gradient is gradients[True][name] is None or torch.equal(gradient, gradients[True][name])
        assert same, name


@pytest.mark.parametrize(
    ("term", "loss", "gain"),
    [
        ("identity", "blendshapes", 0.02),
        ("expression", "blendshapes", 0.01),
        ("expression", "features", 0.05),
    ],
)
def test_a_term_alone_moves_the_estimate_the_right_way(make_session, term, loss, gain):
    weights = {f"{name}_weight": 100.0 * (name == term) for name in ("identity", "contrast", "expression")}
    session = make_session(ICAConfig(share=1.0, cutoff=1.0, expression_loss=loss, **weights))
    session.pipe.vae.decoder.conv_out.weight.data.mul_(8)  # pictures of some contrast
    optimizer = torch.optim.Adam(list(session.state.parameters.values()), lr=1e-2)
    seen = []
    for _ in range(8):
        optimizer.zero_grad()
        loss_rows(session, batch=2).mean().backward()
        optimizer.step()
        seen.append(float(session.stage.figures[term]))
    assert seen[-1] < seen[0] - gain
    assert sorted(seen, reverse=True)[:2] == seen[:2]


def test_the_contrast_term_compares_with_the_same_noise_without_the_expression(make_session):
    session = make_session(ICAConfig(share=1.0, expression_weight=0))
    (x, t, kv), (x_without, t_without, kv_without) = calls_of(session)
    assert torch.equal(x, x_without)
    assert torch.equal(t, t_without)
    assert all(parts.k_expression is None and parts.v_expression is None for parts in kv_without.values())
    assert all(parts.v_expression.requires_grad for parts in kv.values())
    for layer, parts in kv.items():
        assert torch.equal(parts.v_identity, kv_without[layer].v_identity)


def test_without_control_there_is_nothing_to_contrast(make_session):
    session = make_session(ICAConfig(share=1.0))
    for projection in session.state.adapter.to_v_expression.parameters():
        projection.data.zero_()
    loss_rows(session)
    assert float(session.stage.figures["contrast"]) == pytest.approx(0, abs=1e-5)
    assert float(session.stage.figures["identity"]) > 0.1


@pytest.mark.parametrize(
    ("terms", "count"),
    [
        (ICAConfig(share=1.0, contrast_weight=0.0), 1),
        (ICAConfig(share=0.5, contrast_weight=0.0), 2),
        (ICAConfig(share=0.5), 3),
        (ICAConfig(share=0.5, estimator="midpoint"), 5),
        (ICAConfig(share=1.0, inverted_share=0.5, inversion_steps=3), 5),
    ],
)
def test_each_setting_costs_the_calls_it_says(make_session, terms, count):
    assert len(calls_of(make_session(terms))) == count


def test_rows_that_are_looked_at_are_early_and_keep_identity_and_expression(make_session):
    drops = DropConfig(text=0.0, everything=1.0)
    session = make_session(ICAConfig(share=0.5, cutoff=0.2), drops=drops)
    seen = []
    for number in range(4):
        (_, t, kv), (_, t_seen, kv_seen), _ = calls_of(session, number=number)
        assert len(t) == len(t_seen) == BATCH // 2
        for parts, acts in ((kv, False), (kv_seen, True)):
            for values in parts.values():
                assert bool((values.v_identity.abs().amax((1, 2)) > 0).all()) is acts
                assert bool((values.v_expression.abs().amax((1, 2)) > 0).all()) is acts
        seen.append(torch.stack([t, t_seen]))
    t, t_seen = torch.stack(seen).unbind(1)
    assert t_seen.max() < 200
    assert t.max() > 500


def test_they_may_lose_conditions_too(make_session):
    session = make_session(
        ICAConfig(drops=True, contrast_weight=0.0), drops=DropConfig(text=0.0, identity=1.0)
    )
    for _, _, told in calls_of(session):
        for parts in told.values():
            assert not parts.v_identity.any()
            assert bool((parts.v_expression.abs().amax((1, 2)) > 0).all())


@pytest.mark.parametrize(("share", "inverted"), [(0.5, 0.0), (0.75, 0.0), (1.0, 0.5)])
def test_every_row_gets_its_own_loss_whose_mean_does_not_know_the_shares(
    make_session, monkeypatch, share, inverted
):
    session = make_session(ICAConfig(share=share, inverted_share=inverted))
    monkeypatch.setattr(Noised, "diffusion_loss", lambda part, *_: part.rows.landmarks[:, 0, 0])
    monkeypatch.setattr(
        session.stage, "_look", lambda models, part, inverted: (None, torch.full((len(part.rows),), 10.0))
    )
    rows = session.data.sample(8, seeded(torch.Generator(), 1))
    rows = dataclasses.replace(rows, landmarks=torch.arange(80.0).view(8, 5, 2) / 10 + 1)
    draw = StepDraw(seeded(torch.Generator(), 2), (2,))
    loss = session.stage.loss(session.models, rows, draw)
    looked = loss >= 10
    assert looked.sum() == 8 * share
    scale = 1 / (1 - share * inverted)
    own = scale * rows.landmarks[:, 0, 0]
    expected = own + torch.where(looked, 10 / share, 0.0)
    without = (loss - expected).abs() > 1e-4  # rows with inverted noise have no L_diff
    assert without.sum() == 8 * share * inverted
    assert torch.allclose((loss - expected)[without], -own[without])


def test_inverted_noise_lies_on_the_models_own_path(make_session, data, monkeypatch):
    """In a Gaussian world the path keeps (x_t - alpha_t mu) / sqrt(alpha_t^2 s^2 + sigma_t^2)."""
    mu, spread = 0.7, 0.4
    session = make_session()
    diffusion: Diffusion = session.models.diffusion

    def place(x, t):
        alpha, sigma = diffusion.levels(t, x)
        return (x - alpha * mu), (alpha**2 * spread**2 + sigma**2), sigma

    def exact(models, x, t, text, keys_values, pooled=None):
        r, d, sigma = place(x, t)
        return sigma * r / d

    monkeypatch.setattr(noised, "predict", exact)
    rows = data.sample(6, seeded(torch.Generator(), 1))
    x_0 = mu + spread * torch.randn(rows.latents.shape, generator=seeded(torch.Generator(), 2))
    eps = torch.randn(x_0.shape, generator=seeded(torch.Generator(), 3))
    t = torch.tensor([101, 202, 303, 404, 505, 606])
    part = Noised(dataclasses.replace(rows, latents=x_0), rows.text, {}, eps, t)
    kept = []
    for x, at in (
        (diffusion.noisy(x_0, eps, t // 101), t // 101),
        (ica.invert(session.models, part, 100), t),
    ):
        r, d, _ = place(x, at)
        kept.append(r / d.sqrt())
    assert (kept[1] - kept[0]).abs().mean() < 0.03
    fresh, d, _ = place(diffusion.noisy(x_0, eps, t), t)
    assert (fresh / d.sqrt() - kept[0]).abs().mean() > 0.2


class Doubling(nn.Module):
    """An autoencoder whose decoder repeats each latent twice each way: no pixel sees another latent."""

    dtype = torch.float32
    config = SimpleNamespace(scaling_factor=0.5, block_out_channels=(1, 1))

    def decode(self, latents):
        return SimpleNamespace(sample=latents[:, :3].repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_a_square_around_the_face_shows_the_same_face(data):
    latents = torch.rand(3, 4, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    face = torch.tensor([[4.0, 4.0], [9.0, 4.0], [6.5, 6.0], [4.5, 8.0], [8.5, 8.0]])
    landmarks = torch.stack([face, face + torch.tensor([18.0, 3.0]), face + torch.tensor([8.0, 19.0])])
    whole, points = decode(Doubling(), latents, landmarks)
    assert whole.shape[-1] == 32
    assert torch.equal(points, landmarks)
    cut, moved = decode(Doubling(), latents, landmarks, side=10)
    assert cut.shape[-1] == 20
    assert not torch.equal(moved, landmarks)
    inside = align_batch(torch.ones_like(cut), moved, 16) > 0.99
    assert inside.float().mean() > 0.8
    for one, other in zip(
        align_batch(whole, landmarks, 16)[inside], align_batch(cut, moved, 16)[inside], strict=True
    ):
        assert one == pytest.approx(float(other), abs=1e-4)


def test_a_run_interrupted_and_resumed_ends_with_the_same_weights(config, data, tmp_path):
    run = config(steps=2, batch=2, checkpoint_every=1)
    assert_exact_resumption(run, data, tmp_path, ("diffusion", "identity", "contrast", "expression"))


def test_another_pack_or_teacher_than_the_sets_is_refused(make_session, config, data):
    other = dataclasses.replace(data, meta=dataclasses.replace(data.meta, teacher="other.onnx"))
    with pytest.raises(DataError, match=r"prepared with 'other.onnx', but ica.teacher is 'micro'"):
        open_session(config(), other, "cpu")
    with pytest.raises(DataError, match=r"prepared with 'micro', but ica.pack is 'buffalo_l'"):
        make_session(ICAConfig(pack="buffalo_l"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, r"ica.share must lie in \(0, 1\]"),
        ({"inverted_share": 1.5}, r"ica.inverted_share must lie in \[0, 1\]"),
        ({"identity_weight": -1.0}, "ica.identity_weight must be at least 0"),
        ({"face_latents": 0}, "ica.face_latents must be at least 1"),
        ({"branch": "identity"}, r"set both to 0, got 0\.1 and 0\.1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ICAConfig(**settings)
