"""The diffusion objective, pure: noising, prediction target, loss weight; zero terminal SNR included."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from emoji_adapter.errors import InputError

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Diffusion:
    """A noise schedule and what the network predicts.

    Attributes:
        alphas_cumprod: abar_t for t = 0 .. T-1, float32, shape [T]. abar_{T-1} may be 0 (zero terminal SNR,
            Lin et al. 2023, arXiv 2305.08891) when the network predicts v.
        prediction: "epsilon" or "v_prediction".
    """

    alphas_cumprod: Float[Tensor, " T"]
    prediction: Prediction

    @classmethod
    def from_scheduler(cls, scheduler: Any, device: torch.device | str = "cpu") -> "Diffusion":
        """Read the schedule that a diffusers scheduler samples with.

        Raises:
            InputError: the scheduler has no `alphas_cumprod`, predicts something else, or pairs "epsilon"
                with zero terminal SNR, where the noise says nothing about the picture.
        """
        name = type(scheduler).__name__
        if not hasattr(scheduler, "alphas_cumprod"):
            raise InputError(
                f"{name} has no alphas_cumprod; training needs a DDPM-type schedule such as DDIM's."
            )
        prediction = scheduler.config.get("prediction_type", "epsilon")
        if prediction not in ("epsilon", "v_prediction"):
            raise InputError(
                f"prediction_type {prediction!r} cannot be trained; expected epsilon or v_prediction."
            )
        alphas_cumprod = scheduler.alphas_cumprod.detach().to(device=device, dtype=torch.float32)
        if prediction == "epsilon" and float(alphas_cumprod[-1]) == 0.0:
            raise InputError(
                f"{name} has zero terminal SNR, which needs prediction_type v_prediction, got epsilon."
            )
        return cls(alphas_cumprod, cast("Prediction", prediction))

    def __len__(self) -> int:
        """Return T, the number of training timesteps."""
        return len(self.alphas_cumprod)

    def timesteps(self, count: int, generator: Generator, shift: float = 1.0) -> Int[Tensor, " count"]:
        """Draw timesteps, evenly, or moved towards the noise, see `shifted`."""
        u = shifted(torch.rand(count, generator=generator, device=generator.device), shift)
        return (len(self) * u).long().clamp_max(len(self) - 1)

    def noisy(
        self, x_0: Float[Tensor, "B C h w"], eps: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps (Ho et al. 2020, arXiv 2006.11239, eq. 4)."""
        alpha, sigma = self.levels(t, x_0)
        return alpha * x_0 + sigma * eps

    def target(
        self, x_0: Float[Tensor, "B C h w"], eps: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """Noise, or v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0 (Salimans, Ho 2022, arXiv 2202.00512)."""
        if self.prediction == "epsilon":
            return eps
        alpha, sigma = self.levels(t, x_0)
        return alpha * eps - sigma * x_0

    def informed(
        self, x_t: Float[Tensor, "B C h w"], x_0: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """What the network should say of x_t if it knew x_0: `target` of the noise that leads from x_0 there.

        The inverse of `clean`; without noise (abar_t = 1) there is none.
        """
        alpha, sigma = self.levels(t, x_t)
        return self.target(x_0, (x_t - alpha * x_0) / sigma, t)

    def clean(
        self, x_t: Float[Tensor, "B C h w"], predicted: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """One-step estimate of x_0 from a prediction: the inverse of `noisy` and `target`."""
        alpha, sigma = self.levels(t, x_t)
        if self.prediction == "epsilon":
            return (x_t - sigma * predicted) / alpha
        return alpha * x_t - sigma * predicted

    def noise(
        self, x_t: Float[Tensor, "B C h w"], predicted: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """The noise that goes with `clean`: x_t = sqrt(abar_t) clean + sqrt(1 - abar_t) noise."""
        if self.prediction == "epsilon":
            return predicted
        alpha, sigma = self.levels(t, x_t)
        return sigma * x_t + alpha * predicted

    def weight(self, t: Int[Tensor, " B"], gamma: float | None) -> Float[Tensor, " B"]:
        """Weight of each row's squared error: 1, or min-SNR-gamma (Hang et al. 2023, arXiv 2303.09556).

        SNR = abar_t / (1 - abar_t); min(SNR, gamma) / SNR for epsilon, min(SNR, gamma) / (SNR + 1) for v.
        """
        if gamma is None:
            return torch.ones_like(t, dtype=torch.float32)
        abar = self.alphas_cumprod[t]
        snr = abar / (1 - abar).clamp_min(1e-12)
        denominator = snr if self.prediction == "epsilon" else snr + 1
        return snr.clamp_max(gamma) / denominator

    def levels(
        self, t: Int[Tensor, " B"], like: Tensor
    ) -> tuple[Float[Tensor, "B 1 1 1"], Float[Tensor, "B 1 1 1"]]:
        """sqrt(abar_t) and sqrt(1 - abar_t), in the dtype of `like`."""
        abar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return abar.sqrt().to(like.dtype), (1 - abar).sqrt().to(like.dtype)


def shifted(u: Float[Tensor, " count"], shift: float) -> Float[Tensor, " count"]:
    """Move shares of the schedule towards the noise: shift u / (1 + (shift - 1) u).

    Half of evenly drawn ones then lie above shift / (1 + shift) (Esser et al. 2024, arXiv 2403.03206, eq. 23,
    there for the size of pictures). Conditions tell most where little of the picture is seen.
    """
    return shift * u / (1 + (shift - 1) * u)


def diffusion_loss(
    predicted: Float[Tensor, "B C h w"],
    target: Float[Tensor, "B C h w"],
    weight: Float[Tensor, " B"] | Float[Tensor, "B 1 h w"],
) -> Float[Tensor, " B"]:
    """Weighted mean squared error of each row, computed in float32.

    Args:
        predicted: what the network said.
        target: what it should have said.
        weight: one weight per row, see `Diffusion.weight`, or one per place.
    """
    squared = (predicted.float() - target.float()).square()
    return (weight.view(len(weight), 1, *(weight.shape[2:] or (1, 1))) * squared).mean(dim=(1, 2, 3))
