"""The latent autoencoder: pictures to 16x16 latents, whose channels vary as much as they show."""

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from emoji_adapter.microworld.fit import Workshop, fit
from emoji_adapter.microworld.splits import pictures, stream
from emoji_adapter.microworld.stages.language import save_half
from emoji_adapter.microworld.stages.linear_start import start_linear
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import Rendered

_WIDTHS = {64: (16, 32, 64), 128: (32, 64, 96, 96)}
CHANNELS = {64: 8, 128: 8}
"""Latent channels by side of the picture; the latent is 16x16 for both."""
IMPORTANCE = 0.6
"""0 whitens the channels, 1 lets each vary as the pixels do that it moves."""


def make_autoencoder(size: int) -> AutoencoderKL:
    """0.7 million parameters for 64-pixel pictures, 2.4 million for 128."""
    widths = _WIDTHS[size]
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths, layers_per_block=1, latent_channels=CHANNELS[size],
        norm_num_groups=4 if size == 64 else 8,
        sample_size=size, scaling_factor=1.0,
    )  # fmt: skip


def attention_map(rendered: Rendered) -> Tensor:
    """Where small errors matter: 1 elsewhere, 4 on eyes and mouth; (batch, 1, size, size)."""
    size = rendered.image.shape[-1]
    axis = torch.arange(size, device=rendered.image.device) + 0.5
    eyes, mouth = rendered.landmarks[:, :2], rendered.landmarks[:, 3:].mean(1, keepdim=True)
    centres = torch.cat([eyes, mouth], dim=1)[..., None, None]
    away = (axis[None, None, None, :] - centres[:, :, 0]) ** 2 + (
        axis[None, None, :, None] - centres[:, :, 1]
    ) ** 2
    return 1 + 3 * torch.exp(-away / (2 * (0.11 * size) ** 2)).amax(1, keepdim=True)


def _gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    return image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]


def build(shop: Workshop) -> None:
    """Train it, fold the normalisation of its latents into its 1x1 convolutions, save it."""
    model = make_autoencoder(shop.size)
    if shop.size == 64:
        start_linear(model, shop.render(pictures("train", 200, shop.seed)).image * 2 - 1)
    if shop.warm:
        model = AutoencoderKL.from_pretrained(shop.warm / "checkpoint" / "vae", torch_dtype=torch.float32)

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        rendered = shop.render(sample(batch, generator))
        picture, weight = rendered.image * 2 - 1, attention_map(rendered)
        posterior = model.encode(picture).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator, device=picture.device)
        decoded = model.decode(posterior.mean + posterior.std * noise).sample.float()
        error = (weight * (F.smooth_l1_loss(decoded, picture, beta=0.05, reduction="none"))).mean()
        edges = sum(
            (g - h).abs().mean() for g, h in zip(_gradients(decoded), _gradients(picture), strict=True)
        )
        coarse = F.l1_loss(F.avg_pool2d(decoded, 4), F.avg_pool2d(picture, 4))
        return error + 0.5 * edges + 0.5 * coarse + 2e-6 * posterior.kl().float().mean()

    trained = fit(shop, "autoencoder", model, loss)
    scale_latents(trained, shop)
    shop.figures["autoencoder"] |= psnr(trained, shop)
    save_half(trained, shop.out / "checkpoint" / "vae")


@torch.no_grad()
def scale_latents(model: AutoencoderKL, shop: Workshop, pictures: int = 1024) -> None:
    """Give every latent channel mean 0 and a deviation by how much it shows, exactly, by 1x1 convolutions.

    A channel's deviation is its share in the pixels, `(e / max e) ** IMPORTANCE`, e being the change of the
    pixels by a change of one of its deviations. Our choice, see ADR 16.

    Args:
        model: changed in place; what it decodes from what it encodes stays as it is.
        shop: draws the pictures.
        pictures: to measure on, at least 64.
    """
    model.to(shop.device)
    generator = stream("train", "latent statistics", shop.seed, shop.device)
    drawn = (shop.render(sample(64, generator)).image * 2 - 1 for _ in range(pictures // 64))
    means = torch.cat([model.encode(picture).latent_dist.mean for picture in drawn])
    mean, deviation = means.mean((0, 2, 3)), means.std((0, 2, 3))
    share = effects(model, means[:32], deviation, generator)
    scale = (share / share.max()) ** IMPORTANCE / deviation
    before, after = model.quant_conv, model.post_quant_conv
    both = torch.cat([scale, torch.ones_like(scale)])
    shift = torch.cat([-mean * scale, 2 * scale.log()])
    before.weight.mul_(both[:, None, None, None])
    before.bias.mul_(both).add_(shift)
    after.bias.add_(after.weight[:, :, 0, 0] @ mean)
    after.weight.div_(scale[None, :, None, None])


def effects(
    model: AutoencoderKL, latents: Tensor, deviation: Tensor, generator: torch.Generator, step: float = 0.2
) -> Tensor:
    """Root mean square change of the pixels by a change of each channel of `step` deviations."""
    decoded, found = model.decode(latents).sample, []
    for channel in range(latents.shape[1]):
        moved = latents.clone()
        noise = torch.randn(moved[:, channel].shape, generator=generator, device=moved.device)
        moved[:, channel] += step * deviation[channel] * noise
        found.append((model.decode(moved).sample - decoded).square().mean().sqrt())
    return torch.stack(found)


@torch.no_grad()
def psnr(model: AutoencoderKL, shop: Workshop) -> dict[str, float]:
    """Peak signal-to-noise ratio on fresh test pictures, dB."""
    model.to(shop.device)
    picture = shop.render(pictures("test", 128, shop.seed).to(shop.device)).image
    parts = [model.decode(model.encode(p * 2 - 1).latent_dist.mean).sample for p in picture.split(32)]
    error = ((torch.cat(parts).clamp(-1, 1) + 1) / 2 - picture).square().mean((1, 2, 3))
    return {"psnr_db": round(float((-10 * error.log10()).mean()), 2)}
