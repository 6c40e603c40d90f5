"""The base model's lesson: pairs differ in the expression alone, and who knows both pictures has no loss."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from emoji_adapter.config import packaged_part
from emoji_adapter.microworld.fit import Workshop
from emoji_adapter.microworld.stages.album import Album
from emoji_adapter.microworld.stages.denoiser import difference_loss, make_scheduler
from emoji_adapter.microworld.stages.numbers import Heard
from emoji_adapter.renderer.parameters import POSE_LIMITS


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Album:
    weights, state = packaged_part("card.json").parent, tmp_path_factory.mktemp("state")
    return Album(Workshop(weights, Path(state), torch.device("cpu"), 0, 64, {}), 8)


def test_pairs_differ_around_eyes_and_mouth_alone(album: Album) -> None:
    latents, weight, text, _ = album.batch(6, torch.Generator().manual_seed(0))
    apart = (latents[::2] - latents[1::2]).square().mean(1)
    near = (weight[::2, 0] > 2) | (weight[1::2, 0] > 2)
    assert apart[near].mean() > 5 * apart[~near].mean()
    assert (latents[0] - latents[2]).square().mean() > 5 * apart.mean()
    assert not torch.equal(text[::2], text[1::2])


def test_the_numbers_are_those_of_the_pictures(album: Album) -> None:
    shots = album.batch(8, torch.Generator().manual_seed(4))
    faces = shots.faces
    assert torch.equal(faces.identity[::2], faces.identity[1::2])
    assert not torch.equal(faces.expression[::2], faces.expression[1::2])
    rows = [
        int((album.latents.float() - latents).abs().flatten(1).sum(1).argmin()) for latents in shots.latents
    ]
    assert torch.equal(faces.expression, album.faces.expression[rows])


def test_heads_turn_less_than_they_may(album: Album) -> None:
    usual = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    turned = ((album.faces.pose - usual) / torch.tensor(POSE_LIMITS)).abs()
    assert turned.max() <= 1
    assert turned.mean() < 0.4  # half a limit without


def test_a_caption_is_dropped_from_both_of_a_pair(album: Album) -> None:
    _, _, text, _ = album.batch(64, torch.Generator().manual_seed(1), drop=0.5)
    dropped = (text == album.nothing).flatten(1).all(1)
    assert 0 < dropped.sum() < 64
    assert torch.equal(dropped[::2], dropped[1::2])


def test_a_network_that_knows_both_pictures_has_no_difference_to_learn(album: Album) -> None:
    scheduler = make_scheduler()
    shots = album.batch(6, torch.Generator().manual_seed(2))

    class Knows(UNet2DConditionModel):
        dtype = torch.float32  # type: ignore[assignment]

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        def forward(self, x_t: torch.Tensor, t: torch.Tensor, *_: Any, **__: Any) -> Any:
            abar = scheduler.alphas_cumprod[t][:, None, None, None]
            return SimpleNamespace(sample=(abar.sqrt() * x_t - shots.latents) / (1 - abar).sqrt())

    class Mute(Knows):
        def forward(self, x_t: torch.Tensor, t: torch.Tensor, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(sample=x_t)

    def loss(unet: UNet2DConditionModel) -> float:
        generator = torch.Generator().manual_seed(3)
        return float(difference_loss(unet, scheduler, shots, Heard(shots.text, None), generator))

    assert loss(Knows()) < 1e-6
    assert loss(Mute()) > 0.01
