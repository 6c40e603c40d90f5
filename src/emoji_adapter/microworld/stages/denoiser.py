"""The base model: a small latent diffusion U-Net on text, saved as a stock diffusers checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from emoji_adapter.faces.weight import face_weight
from emoji_adapter.microworld.captions import captions
from emoji_adapter.microworld.fit import Workshop, fit
from emoji_adapter.microworld.splits import stream
from emoji_adapter.microworld.stages.autoencoder import CHANNELS
from emoji_adapter.microworld.stages.language import DESCRIBE, WIDTH, save_half, tokenize
from emoji_adapter.renderer.parameters import sample

PICTURES = {"cuda": 160_000, "cpu": 40_000}
"""Distinct training pictures at the most, by device; fewer when the recipe looks at fewer."""
SHIFT, FACE_WEIGHT = 2.0, 6.0
"""Half of the timesteps lie above 1000 SHIFT / (1 + SHIFT) = 667, where captions tell most; eyes and mouth
weigh more, since all that an expression changes lies there (both our choice, see ADR 9)."""
TAKES_WEIGHT, TAKES_BAND = 1.0, (450, 980)
"""Weight of `difference_loss`, and its timesteps: there noise hides what a face does, but not the face."""


def make_unet(size: int) -> UNet2DConditionModel:
    """5.1 million parameters for 64-pixel pictures, 6.7 million for 128; cross-attention everywhere."""
    widths, heads = {64: ((64, 96, 112), (4, 6, 7)), 128: ((96, 112, 112), (6, 7, 7))}[size]
    return UNet2DConditionModel(
        sample_size=16, in_channels=CHANNELS[size], out_channels=CHANNELS[size], block_out_channels=widths,
        layers_per_block=1, cross_attention_dim=WIDTH, attention_head_dim=heads, norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3,
    )  # fmt: skip


def make_scheduler() -> DDIMScheduler:
    """v-prediction with zero terminal SNR (Lin et al. 2024), so that plain backgrounds get their colour."""
    return DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip


def silence_residuals(unet: UNet2DConditionModel) -> None:
    """Let residual branches and the output begin at zero (as Dhariwal & Nichol 2021, arXiv 2105.05233)."""
    last = [m.conv2 for m in unet.modules() if isinstance(m, ResnetBlock2D)]
    last += [m.proj_out for m in unet.modules() if isinstance(m, Transformer2DModel)]
    for layer in [*last, unet.conv_out]:
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)


class Shots(NamedTuple):
    """Some pictures of an album, pairs one after the other.

    Attributes:
        latents: (size, channels, 16, 16).
        weight: (size, 1, 16, 16), of the loss by place.
        text: (size, 77, width), text states.
    """

    latents: Tensor
    weight: Tensor
    text: Tensor


class Album:
    """Latents of many pictures and the text states of their captions, ready on the device.

    Pictures come in pairs that differ in the expression alone, see `difference_loss`.

    Args:
        shop: where the finished autoencoder and text encoder lie.
        count: how many pictures, rounded up to pairs.
        look: changes each picture before it is encoded.
    """

    @torch.no_grad()
    def __init__(self, shop: Workshop, count: int, look: Callable[[Tensor], Tensor] | None = None):
        self.encoder = CLIPTextModel.from_pretrained(
            shop.out / "checkpoint" / "text_encoder", dtype=torch.float32
        )
        self.encoder.to(shop.device).eval().requires_grad_(False)
        self.tokenizer = CLIPTokenizer.from_pretrained(shop.out / "checkpoint" / "tokenizer")
        vae = (
            AutoencoderKL.from_pretrained(shop.out / "checkpoint" / "vae", torch_dtype=torch.float32)
            .to(shop.device)
            .eval()
        )
        generator, latents, texts = stream("train", "album", shop.seed, shop.device), [], []
        weights = []
        count += count % 2
        for start in range(0, count, 500):
            parameters = sample(min(500, count - start), generator).as_takes(2)
            takes = (parameters.index(slice(first, None, 2)).to("cpu") for first in (0, 1))
            worded = [captions(take, start, describe=DESCRIBE) for take in takes]
            texts += [text for pair in zip(*worded, strict=True) for text in pair]
            with shop.autocast():
                drawn = shop.render(parameters)
                picture = look(drawn.image) if look else drawn.image
                latents.append(vae.encode(picture * 2 - 1).latent_dist.mean.half())
            side = latents[-1].shape[-1]
            pixels = shop.size / side
            weights.append(face_weight(drawn.landmarks.float(), side, side, pixels, FACE_WEIGHT).half())
        self.latents, self.weights = torch.cat(latents), torch.cat(weights)
        self.states, self.nothing = self.encode(texts), self.encode([""])

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """Text states, (texts, 77, width), in half precision."""
        parts = tokenize(self.tokenizer, texts).split(512)
        device = self.encoder.device
        return torch.cat([self.encoder(part.to(device)).last_hidden_state.half() for part in parts])

    def batch(self, size: int, generator: torch.Generator, drop: float = 0.1) -> Shots:
        """Draw pairs, `size` an even number; the caption is dropped from both or from none."""
        device, pairs = generator.device, size // 2
        first = 2 * torch.randint(len(self.latents) // 2, (pairs,), generator=generator, device=device)
        rows = torch.stack([first, first + 1], dim=1).flatten()
        dropped = torch.rand(pairs, generator=generator, device=device) < drop
        dropped = dropped.repeat_interleave(2)[:, None, None]
        text = torch.where(dropped, self.nothing, self.states[rows])
        return Shots(self.latents[rows].float(), self.weights[rows].float(), text.float())


def diffusion_loss(
    unet: UNet2DConditionModel, scheduler: DDIMScheduler, shots: Shots, generator: torch.Generator
) -> Tensor:
    """Weighted mean squared error of v (Salimans & Ho 2022)."""
    latents, weight, text = shots
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    u = torch.rand(len(latents), generator=generator, device=latents.device)
    t = (1000 * SHIFT * u / (1 + (SHIFT - 1) * u)).long().clamp_max(999)  # Esser et al. 2024, eq. 23
    noisy, target = scheduler.add_noise(latents, noise, t), scheduler.get_velocity(latents, noise, t)
    predicted = unet(noisy.to(unet.dtype), t, text.to(unet.dtype)).sample.float()
    return (weight * (predicted - target).square()).mean()


def difference_loss(
    unet: UNet2DConditionModel, scheduler: DDIMScheduler, shots: Shots, generator: torch.Generator
) -> Tensor:
    """How far the captions of a pair move the estimates of x_0 apart, against how far they should.

    The network sees the same x_t twice, the noised mean of both pictures, which tells neither expression, and
    the two captions. All else cancels in the difference; in the usual loss it is a per cent or two, lost
    in the noise of the rest (our choice, ADR 15). v = (alpha x_t - x_0) / sigma, so v differs by
    -(x_0 - x_0') / sigma.
    """
    latents, weight, text = shots
    first, second = latents[::2], latents[1::2]
    noise = torch.randn(first.shape, generator=generator, device=latents.device)
    low, high = TAKES_BAND
    t = torch.randint(low, high, (len(first),), generator=generator, device=latents.device)
    noisy = scheduler.add_noise((first + second) / 2, noise, t).repeat_interleave(2, 0)
    predicted = unet(noisy.to(unet.dtype), t.repeat_interleave(2), text.to(unet.dtype)).sample.float()
    sigma = (1 - scheduler.alphas_cumprod[t]).sqrt()[:, None, None, None]
    apart = predicted[::2] - predicted[1::2] + (first - second) / sigma
    return ((weight[::2] + weight[1::2]) / 2 * apart.square()).mean()


def build(shop: Workshop) -> None:
    """Train the U-Net on the finished latents and text states and complete the checkpoint folder."""
    unet, scheduler = make_unet(shop.size), make_scheduler()
    silence_residuals(unet)
    if shop.warm and (shop.warm / "checkpoint" / "unet").exists():
        unet = UNet2DConditionModel.from_pretrained(
            shop.warm / "checkpoint" / "unet", torch_dtype=torch.float32
        )
    if shop.device.type == "cpu" and shop.half:  # all of it in bfloat16, attention too: 1.6 times faster
        unet.to(torch.bfloat16).set_attn_processor(AttnProcessor())
    recipe = shop.recipes["denoiser"]
    album = Album(shop, min(PICTURES[shop.device.type], recipe.steps * recipe.batch // 4))
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(shop.device)

    called = torch.compile(unet) if shop.compiled else unet

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        usual = diffusion_loss(called, scheduler, album.batch(batch // 2, generator), generator)
        pairs = album.batch(batch // 2, generator, drop=0.0)
        return usual + TAKES_WEIGHT * difference_loss(called, scheduler, pairs, generator)

    trained = fit(shop, "denoiser", unet, loss)
    save_half(trained, shop.out / "checkpoint" / "unet")
    make_scheduler().save_pretrained(shop.out / "checkpoint" / "scheduler")
    write_model_index(shop.out / "checkpoint")


def write_model_index(folder: Path) -> None:
    """What makes the folder a stock Stable Diffusion checkpoint."""
    index = {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
        "requires_safety_checker": False,
        "feature_extractor": [None, None], "image_encoder": [None, None], "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
