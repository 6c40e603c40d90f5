"""Latents and fingerprints."""

import numpy as np
import torch

import tiny
from emoji_adapter.data.latents import encode_pictures, weights_hash


def test_latents_are_the_scaled_mean_of_the_autoencoder():
    vae = tiny.components()["vae"]
    pictures = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    latents = encode_pictures(vae, pictures, batch=2)
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    assert latents.dtype == torch.float16
    torch.testing.assert_close(latents.float(), expected.detach(), atol=2e-3, rtol=1e-3)


def test_the_hash_follows_the_weights_and_not_their_dtype():
    vae = tiny.components()["vae"].half()
    before = weights_hash(vae)
    assert weights_hash(vae.float()) == before
    with torch.no_grad():
        next(vae.parameters()).add_(0.5)
    assert weights_hash(vae) != before
