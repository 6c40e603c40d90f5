"""The base model: a small latent diffusion U-Net on text, saved as a stock diffusers checkpoint."""

import json
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor, nn

from emoji_adapter.microworld.fit import Workshop, fit, save_atomically
from emoji_adapter.microworld.stages.album import Album, Shots
from emoji_adapter.microworld.stages.autoencoder import CHANNELS
from emoji_adapter.microworld.stages.language import WIDTH, save_half
from emoji_adapter.microworld.stages.numbers import Heard, Numbers

PICTURES = {"cuda": 160_000, "cpu": 60_000}
"""Distinct training pictures at the most, by device; fewer when the recipe looks at fewer."""
SHIFT = 2.0
"""Half of the timesteps lie above 1000 SHIFT / (1 + SHIFT) = 667, where captions tell most (ADR 9)."""
TAKES_SHARE, TAKES_BAND = 1 / 3, (450, 1000)
"""Share of the rows that learn by `difference_loss`; their timesteps: noise hides there what a face does."""
NUMBERS = Path("numbers.safetensors")
"""Beside the checkpoint; nothing but a warm start reads it."""


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


def diffusion_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    shots: Shots,
    heard: Heard,
    generator: torch.Generator,
) -> Tensor:
    """Weighted mean squared error of v (Salimans & Ho 2022)."""
    latents, weight = shots.latents, shots.weight
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    u = torch.rand(len(latents), generator=generator, device=latents.device)
    t = (1000 * SHIFT * u / (1 + (SHIFT - 1) * u)).long().clamp_max(999)  # Esser et al. 2024, eq. 23
    noisy, target = scheduler.add_noise(latents, noise, t), scheduler.get_velocity(latents, noise, t)
    return (weight * (_predict(unet, noisy, t, heard) - target).square()).mean()


def difference_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    shots: Shots,
    heard: Heard,
    generator: torch.Generator,
) -> Tensor:
    """How far what is heard of a pair moves the estimates of x_0 apart, against how far it should.

    The network sees the same x_t twice, the noised mean of both pictures, which tells neither expression, and
    hears of the one and of the other. All else cancels in the difference; in the usual loss it is a per cent
    or two, lost in the noise of the rest (our choice, ADR 15). v = (alpha x_t - x_0) / sigma, so v differs by
    -(x_0 - x_0') / sigma.
    """
    first, second = shots.latents[::2], shots.latents[1::2]
    noise = torch.randn(first.shape, generator=generator, device=first.device)
    low, high = TAKES_BAND
    t = torch.randint(low, high, (len(first),), generator=generator, device=first.device)
    noisy = scheduler.add_noise((first + second) / 2, noise, t).repeat_interleave(2, 0)
    predicted = _predict(unet, noisy, t.repeat_interleave(2), heard)
    sigma = (1 - scheduler.alphas_cumprod[t]).sqrt()[:, None, None, None]
    apart = predicted[::2] - predicted[1::2] + (first - second) / sigma
    return ((shots.weight[::2] + shots.weight[1::2]) / 2 * apart.square()).mean()


def _predict(unet: UNet2DConditionModel, noisy: Tensor, t: Tensor, heard: Heard) -> Tensor:
    states = heard.states.to(unet.dtype)
    return unet(noisy.to(unet.dtype), t, states, encoder_attention_mask=heard.mask).sample.float()


class Lesson(nn.Module):
    """The U-Net and what it hears beside captions while it learns."""

    def __init__(self, unet: UNet2DConditionModel, numbers: Numbers):
        super().__init__()
        self.unet, self.numbers = unet, numbers


def build(shop: Workshop) -> None:
    """Train the U-Net on the finished latents and text states and complete the checkpoint folder.

    `numbers.safetensors` beside the checkpoint is for warm starts alone.
    """
    unet, numbers, scheduler = make_unet(shop.size), Numbers(), make_scheduler()
    silence_residuals(unet)
    if shop.warm and (shop.warm / "checkpoint" / "unet").exists():
        unet = UNet2DConditionModel.from_pretrained(
            shop.warm / "checkpoint" / "unet", torch_dtype=torch.float32
        )
    if shop.warm and (shop.warm / NUMBERS).exists():
        numbers.load_state_dict(load_file(shop.warm / NUMBERS))
    lesson = Lesson(unet, numbers)
    if shop.device.type == "cpu" and shop.half:  # all of it in bfloat16, attention too: 1.6 times faster
        lesson.to(torch.bfloat16)
        unet.set_attn_processor(AttnProcessor())
    recipe = shop.recipes["denoiser"]
    album = Album(shop, min(PICTURES[shop.device.type], recipe.steps * recipe.batch // 4))
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(shop.device)
    called = torch.compile(unet) if shop.compiled else unet

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        in_pairs = max(2, 2 * round(batch * TAKES_SHARE / 2))
        shots = album.batch(batch - in_pairs, generator)
        pairs = album.batch(in_pairs, generator, drop=0.0)
        heard = numbers.beside(shots.text, shots.faces, generator)
        told = numbers.beside(pairs.text, pairs.faces, generator, pairs=True)
        usual = diffusion_loss(called, scheduler, shots, heard, generator)
        apart = difference_loss(called, scheduler, pairs, told, generator)
        return (1 - TAKES_SHARE) * usual + TAKES_SHARE * apart

    trained = fit(shop, "denoiser", lesson, loss)
    save_half(trained.unet, shop.out / "checkpoint" / "unet")
    save_atomically({k: v.half() for k, v in trained.numbers.state_dict().items()}, shop.out / NUMBERS)
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
