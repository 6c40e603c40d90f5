"""Diffusion maths against the formulas and against diffusers' own schedulers."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from emoji_adapter.errors import InputError
from emoji_adapter.faces.weight import face_weight
from emoji_adapter.training.losses import Diffusion, diffusion_loss


def schedule(prediction: Any = "v_prediction", zero_snr=True) -> Any:
    return DDIMScheduler(
        prediction_type=prediction, rescale_betas_zero_snr=zero_snr, timestep_spacing="trailing"
    )


def tensors(batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_0, eps = torch.randn(2, batch, 4, 8, 8, generator=generator)
    t = torch.randint(1000, (batch,), generator=generator)
    return x_0, eps, t


@pytest.mark.parametrize(
    ("prediction", "zero_snr"), [("epsilon", False), ("v_prediction", False), ("v_prediction", True)]
)
def test_noising_and_target_are_those_of_diffusers(prediction, zero_snr):
    scheduler = schedule(prediction, zero_snr)
    diffusion = Diffusion.from_scheduler(scheduler)
    x_0, eps, t = tensors()
    torch.testing.assert_close(diffusion.noisy(x_0, eps, t), scheduler.add_noise(x_0, eps, t))
    expected = eps if prediction == "epsilon" else scheduler.get_velocity(x_0, eps, t)
    torch.testing.assert_close(diffusion.target(x_0, eps, t), expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_clean_undoes_noising_given_the_true_target(prediction):
    diffusion = Diffusion.from_scheduler(schedule(prediction, zero_snr=False))
    x_0, eps, t = tensors()
    x_t = diffusion.noisy(x_0, eps, t)
    torch.testing.assert_close(
        diffusion.clean(x_t, diffusion.target(x_0, eps, t), t), x_0, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_who_knows_the_picture_says_the_target(prediction):
    diffusion = Diffusion.from_scheduler(schedule(prediction, zero_snr=False))
    x_0, eps, _ = tensors()
    t = torch.tensor([300, 500, 800, 999])
    told = diffusion.informed(diffusion.noisy(x_0, eps, t), x_0, t)
    torch.testing.assert_close(told, diffusion.target(x_0, eps, t), atol=1e-4, rtol=1e-4)


def test_at_zero_terminal_snr_the_input_is_pure_noise_and_the_target_minus_the_picture():
    diffusion = Diffusion.from_scheduler(schedule())
    x_0, eps, _ = tensors()
    last = torch.full((4,), len(diffusion) - 1)
    assert torch.equal(diffusion.noisy(x_0, eps, last), eps)
    assert torch.equal(diffusion.target(x_0, eps, last), -x_0)
    assert torch.isfinite(diffusion.weight(last, 5.0)).all()


def test_epsilon_with_zero_terminal_snr_is_refused():
    with pytest.raises(InputError, match="zero terminal SNR, which needs prediction_type v_prediction"):
        Diffusion.from_scheduler(schedule("epsilon"))


def test_other_predictions_and_schedules_are_refused():
    with pytest.raises(InputError, match="prediction_type 'sample'"):
        Diffusion.from_scheduler(schedule("sample", zero_snr=False))
    with pytest.raises(InputError, match="no alphas_cumprod"):
        Diffusion.from_scheduler(FlowMatchEulerDiscreteScheduler())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weight_is_the_formula(prediction):
    diffusion = Diffusion.from_scheduler(schedule(prediction, zero_snr=False))
    t = torch.tensor([0, 300, 900])
    abar = diffusion.alphas_cumprod[t]
    snr = abar / (1 - abar)
    expected = torch.minimum(snr, torch.tensor(5.0)) / (snr if prediction == "epsilon" else snr + 1)
    torch.testing.assert_close(diffusion.weight(t, 5.0), expected)
    assert torch.equal(diffusion.weight(t, None), torch.ones(3))


def test_loss_is_each_rows_own_weighted_mean_square():
    predicted = torch.zeros(2, 1, 2, 2)
    target = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    assert diffusion_loss(predicted, target, torch.tensor([1.0, 0.5])).tolist() == [1.0, 4.5]


def test_timesteps_cover_the_schedule_and_shift_towards_the_noise() -> None:
    diffusion = Diffusion(torch.linspace(0.99, 0.01, 1000), "epsilon")
    generator = torch.Generator().manual_seed(0)
    even = diffusion.timesteps(20_000, generator)
    assert even.min() == 0
    assert even.max() == 999
    assert abs(even.float().median() - 500) < 15
    shifted = diffusion.timesteps(20_000, generator, shift=3.0)
    assert shifted.max() == 999
    assert abs(shifted.float().median() - 750) < 10


def test_places_around_eyes_and_mouth_weigh_more() -> None:
    landmarks = torch.tensor([[[24.0, 26.0], [40.0, 26.0], [32.0, 34.0], [26.0, 44.0], [38.0, 44.0]]])
    weight = face_weight(landmarks, 16, 16, pixels=4, strength=6.0)
    assert weight.shape == (1, 1, 16, 16)
    assert abs(float(weight.mean()) - 1) < 1e-5
    eye, mouth, corner = weight[0, 0, 6, 6], weight[0, 0, 11, 8], weight[0, 0, 15, 0]
    assert eye > 5 * corner
    assert mouth > 5 * corner
    assert torch.allclose(face_weight(landmarks, 16, 16, pixels=4, strength=0.0), torch.ones(1, 1, 16, 16))
    predicted, target = torch.randn(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)
    even = diffusion_loss(predicted, target, torch.ones(2))
    torch.testing.assert_close(diffusion_loss(predicted, target, torch.ones(2, 1, 16, 16)), even)
