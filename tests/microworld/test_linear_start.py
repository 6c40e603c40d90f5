"""The autoencoder knows colours and places before its first step of training."""

import torch

from emoji_adapter.microworld.splits import pictures
from emoji_adapter.microworld.stages.autoencoder import make_autoencoder
from emoji_adapter.microworld.stages.linear_start import start_linear
from emoji_adapter.renderer.render import render


@torch.no_grad()
def test_it_starts_near_the_pictures() -> None:
    torch.manual_seed(0)
    model = make_autoencoder(64)
    drawn = render(pictures("train", 40, 0), 64).image * 2 - 1
    start_linear(model, drawn)
    latents = model.encode(drawn).latent_dist.mean
    assert latents.std() - 1 < 0.2
    error = (model.decode(latents).sample - drawn).square().mean() / 4
    assert -10 * error.log10() > 18  # dB; a random start gives about 8
