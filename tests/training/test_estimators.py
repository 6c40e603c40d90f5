"""Clean-image estimates against closed forms: a Gaussian world has an exact denoiser and a linear answer.

x_0 ~ N(MU, SPREAD^2) in every element. With r = x_t - alpha_t MU and D_t = alpha_t^2 SPREAD^2 + sigma_t^2
the posterior means are x_0 - MU = SPREAD^2 alpha_t r / D_t and eps = sigma_t r / D_t, and the probability-
flow ODE keeps r / sqrt(D_t).
"""

import pytest
import torch
from diffusers import DDIMScheduler

from emoji_adapter.training.config import ICAConfig
from emoji_adapter.training.estimators import make_estimator, midpoint, ode_midpoint, one_step, rollout
from emoji_adapter.training.losses import Diffusion

MU, SPREAD = 0.7, 0.4
WORLDS = [("epsilon", False), ("v_prediction", False), ("v_prediction", True)]


@pytest.fixture(params=WORLDS, ids=["epsilon", "v", "v with zero terminal SNR"])
def diffusion(request):
    prediction, zero_snr = request.param
    made = Diffusion.from_scheduler(
        DDIMScheduler(prediction_type=prediction, rescale_betas_zero_snr=zero_snr)
    )
    object.__setattr__(made, "alphas_cumprod", made.alphas_cumprod.double())
    return made


@pytest.fixture
def t(diffusion):
    last = len(diffusion) - 1
    return torch.tensor([0, 1, 37, 300, 700, last])


@pytest.fixture
def x_t(t):
    return torch.randn(len(t), 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def levels(diffusion, t):
    abar = diffusion.alphas_cumprod[t].view(-1, 1, 1, 1)
    alpha, sigma = abar.sqrt(), (1 - abar).sqrt()
    return alpha, sigma, alpha**2 * SPREAD**2 + sigma**2


def exact(diffusion):
    """The denoiser that this world calls for, in the schedule's kind of prediction."""

    def predict(x, t):
        alpha, sigma, d = levels(diffusion, t)
        r = x - alpha * MU
        eps, x_0 = sigma * r / d, MU + SPREAD**2 * alpha * r / d
        return eps if diffusion.prediction == "epsilon" else alpha * eps - sigma * x_0

    return predict


def test_one_step_is_the_posterior_mean(diffusion, x_t, t):
    alpha, _, d = levels(diffusion, t)
    expected = MU + SPREAD**2 * alpha * (x_t - alpha * MU) / d
    torch.testing.assert_close(one_step(diffusion, exact(diffusion), x_t, t), expected)


def half_way(diffusion, x_t, t):
    """r at s = t/2 after the step from t."""
    alpha, sigma, d = levels(diffusion, t)
    alpha_s, sigma_s, _ = levels(diffusion, t // 2)
    return (alpha_s * alpha * SPREAD**2 + sigma_s * sigma) * (x_t - alpha * MU) / d


def test_midpoint_is_the_posterior_mean_half_way(diffusion, x_t, t):
    alpha_s, _, d_s = levels(diffusion, t // 2)
    expected = MU + SPREAD**2 * alpha_s * half_way(diffusion, x_t, t) / d_s
    torch.testing.assert_close(midpoint(diffusion, exact(diffusion), x_t, t), expected)
    torch.testing.assert_close(rollout(2)(diffusion, exact(diffusion), x_t, t), expected)


def test_ode_midpoint_takes_the_slope_of_the_middle(diffusion, x_t, t):
    alpha, sigma, _ = levels(diffusion, t)
    _, sigma_s, d_s = levels(diffusion, t // 2)
    slope = sigma_s * half_way(diffusion, x_t, t) / d_s
    found = ode_midpoint(diffusion, exact(diffusion), x_t, t)
    has_signal = alpha.flatten() > 0
    expected = (x_t - sigma * slope) / alpha
    torch.testing.assert_close(found[has_signal], expected[has_signal])
    two_calls = midpoint(diffusion, exact(diffusion), x_t, t)
    torch.testing.assert_close(found[~has_signal], two_calls[~has_signal])


def test_a_long_rollout_is_the_solution_of_the_ode(diffusion, x_t, t):
    t = t.clamp(min=300)
    alpha, _, d = levels(diffusion, t)
    expected = MU + SPREAD * (x_t - alpha * MU) / d.sqrt()
    errors = [
        (rollout(steps)(diffusion, exact(diffusion), x_t, t) - expected).abs().max() for steps in (1, 16, 200)
    ]
    assert errors[2] < 0.03
    assert errors[2] < errors[1] < errors[0]


@pytest.mark.parametrize("estimate", [one_step, midpoint, ode_midpoint, rollout(3)])
def test_every_estimate_passes_finite_gradients(diffusion, x_t, t, estimate):
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    predict = exact(diffusion)
    estimate(diffusion, lambda x, s: weight * predict(x, s), x_t, t).square().sum().backward()
    assert torch.isfinite(weight.grad)
    assert weight.grad.abs() > 0


def test_settings_name_estimators_by_the_calls_they_make(diffusion, x_t, t):
    calls = {}
    for name in ("one_step", "midpoint", "ode_midpoint", "rollout"):
        seen = []

        def predict(x, s, seen=seen):
            seen.append(s)
            return exact(diffusion)(x, s)

        make_estimator(ICAConfig(estimator=name, rollout_steps=5))(diffusion, predict, x_t, t)
        calls[name] = len(seen)
    assert calls == {"one_step": 1, "midpoint": 2, "ode_midpoint": 2, "rollout": 5}
