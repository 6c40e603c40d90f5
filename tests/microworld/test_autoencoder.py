"""Scaling the latents: each channel by how far it moves the pixels, and no picture changes."""

from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from emoji_adapter.config import packaged_part
from emoji_adapter.microworld.fit import Workshop
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.microworld.stages.autoencoder import IMPORTANCE, effects, scale_latents
from emoji_adapter.renderer.render import render


@torch.no_grad()
def test_channels_vary_as_they_show_and_pictures_stay(tmp_path: Path) -> None:
    model = AutoencoderKL.from_pretrained(
        packaged_part("checkpoint") / "vae", torch_dtype=torch.float32
    ).eval()
    factor = torch.linspace(0.2, 5.0, model.config["latent_channels"])
    model.quant_conv.weight.mul_(torch.cat([factor, torch.ones_like(factor)])[:, None, None, None])
    model.quant_conv.bias.mul_(torch.cat([factor, torch.ones_like(factor)]))
    model.post_quant_conv.weight.div_(factor[None, :, None, None])
    picture = render(pictures("train", 48, 3), 64).image * 2 - 1
    before = model.decode(model.encode(picture).latent_dist.mean).sample
    scale_latents(model, Workshop(tmp_path, tmp_path, torch.device("cpu"), 0, 64, {}), pictures=64)
    latents = model.encode(picture).latent_dist.mean
    torch.testing.assert_close(model.decode(latents).sample, before, atol=2e-3, rtol=0)
    deviation = latents.std((0, 2, 3))
    shown = effects(model, latents[:16], deviation, torch.Generator().manual_seed(0))
    wanted = (shown / shown.max()) ** IMPORTANCE
    torch.testing.assert_close(deviation, wanted, atol=0.08, rtol=0.15)
    assert latents.mean((0, 2, 3)).abs().max() < 0.15
