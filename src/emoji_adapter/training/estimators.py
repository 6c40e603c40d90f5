"""Clean-image estimates: from x_t to x_0 in a few calls of the network, so that a loss can look at a picture.

One signature. In theory the one-step estimate of an ideal denoiser is the posterior mean, the lowest in mean
squared error and blurred where the posterior is wide; the others walk towards one picture. The papers leave
the equations open (DiffSFSR names "improved midpoint sampling", EmojiDiff a one-step prediction below a cut-
off): the forms here are our reading, and the tests hold them to closed forms.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoji_adapter.training.config import ICAConfig
from emoji_adapter.training.losses import Diffusion

Predict = Callable[[Tensor, Tensor], Tensor]
"""A call of the network: (x_t [B, C, h, w], t [B]) to its prediction, noise or v, [B, C, h, w]."""


@runtime_checkable
class Estimator(Protocol):
    """Estimates x_0; gradients flow through every call of the network."""

    def __call__(
        self,
        diffusion: Diffusion,
        predict: Predict,
        x_t: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
    ) -> Float[Tensor, "B C h w"]:
        """Return the estimate of each row.

        Args:
            diffusion: schedule and kind of prediction.
            predict: the network with its conditions.
            x_t: noisy latents.
            t: their timesteps, 0 to T - 1.
        """
        ...


def one_step(
    diffusion: Diffusion, predict: Predict, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
) -> Float[Tensor, "B C h w"]:
    """x_0(t) = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t), for v its equal (EmojiDiff's quick estimate)."""
    return diffusion.clean(x_t, predict(x_t, t), t)


def midpoint(
    diffusion: Diffusion, predict: Predict, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
) -> Float[Tensor, "B C h w"]:
    """Two calls, t to s = t/2 to 0 (our reading of DiffSFSR): the one-step estimate from half-way down."""
    s = t // 2
    x_s = step_to(diffusion, x_t, predict(x_t, t), t, s)
    return diffusion.clean(x_s, predict(x_s, s), s)


def ode_midpoint(
    diffusion: Diffusion, predict: Predict, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
) -> Float[Tensor, "B C h w"]:
    """The whole way with the slope of its middle.

    With y = x / sqrt(abar) and sig = sqrt((1 - abar) / abar) the probability-flow ODE is dy/dsig = eps (Song
    et al. 2021, arXiv 2010.02502, eq. 14); y_0 = y_t - sig_t eps(x_s, s), s = t/2. Where abar_t = 0 there is
    no y: such rows take the two-call estimate, which needs the same calls (our choice).
    """
    s = t // 2
    x_s = step_to(diffusion, x_t, predict(x_t, t), t, s)
    predicted = predict(x_s, s)
    alpha, sigma = diffusion.levels(t, x_t)
    starts = alpha > 0
    straight = (x_t - sigma * diffusion.noise(x_s, predicted, s)) / torch.where(starts, alpha, 1.0)
    return torch.where(starts, straight, diffusion.clean(x_s, predicted, s))


def rollout(steps: int) -> Estimator:
    """DDIM without noise (Song et al. 2021, eq. 12) from t to 0 in `steps` even steps; 2 is `midpoint`.

    Args:
        steps: calls of the network, at least 1.
    """

    def estimate(
        diffusion: Diffusion, predict: Predict, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        x, now = x_t, t
        for left in range(steps - 1, 0, -1):
            after = t * left // steps
            x, now = step_to(diffusion, x, predict(x, now), now, after), after
        return diffusion.clean(x, predict(x, now), now)

    return estimate


def step_to(
    diffusion: Diffusion,
    x_t: Float[Tensor, "B C h w"],
    predicted: Float[Tensor, "B C h w"],
    t: Int[Tensor, " B"],
    s: Int[Tensor, " B"],
) -> Float[Tensor, "B C h w"]:
    """Move latents from t to s along one prediction, down or up; DDIM's step without noise.

    Args:
        diffusion: schedule and kind of prediction.
        x_t: noisy latents.
        predicted: the network's at (x_t, t).
        t: where they are.
        s: where they go.
    """
    return diffusion.noisy(diffusion.clean(x_t, predicted, t), diffusion.noise(x_t, predicted, t), s)


def make_estimator(config: ICAConfig) -> Estimator:
    """Return the estimator that settings name."""
    if config.estimator == "rollout":
        return rollout(config.rollout_steps)
    return {"one_step": one_step, "midpoint": midpoint, "ode_midpoint": ode_midpoint}[config.estimator]
