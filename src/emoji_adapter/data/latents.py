"""Latents of pictures, and the fingerprint of the weights that made them."""

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def encode_pictures(vae: Any, pictures: np.ndarray, *, batch: int = 64) -> Float[Tensor, "N C h w"]:
    """Encode pictures to the mean of their latent distribution, times the scaling factor.

    Args:
        vae: `AutoencoderKL` or `AutoencoderTiny`, on the device that is to do the work.
        pictures: uint8 [N, S, S, 3] RGB.
        batch: pictures per forward pass.

    Returns:
        float16 on the CPU.
    """
    parts = []
    for start in range(0, len(pictures), batch):
        pixels = torch.from_numpy(pictures[start : start + batch]).to(vae.device).permute(0, 3, 1, 2)
        encoded = vae.encode((pixels.to(vae.dtype) / 127.5) - 1)
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        parts.append((latents.float() * vae.config.scaling_factor).to("cpu", torch.float16))
    return torch.cat(parts)


def weights_hash(model: nn.Module) -> str:
    """Hash of a model's weights, as float16: it does not depend on the dtype they were loaded in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_floating_point():
            tensor = tensor.to("cpu", torch.float16)
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
