"""A second look, as community checkpoints have one: a LoRA of about a megabyte on the base U-Net."""

import copy
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from jaxtyping import Float
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor

from emoji_adapter.microworld.fit import Workshop, fit
from emoji_adapter.microworld.stages.album import Album
from emoji_adapter.microworld.stages.denoiser import diffusion_loss, make_scheduler
from emoji_adapter.microworld.stages.language import save_half
from emoji_adapter.microworld.stages.numbers import Heard

RANK = 8
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "proj_in", "proj_out"]


def cameo(picture: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 3 size size"]:
    """The look: a rosy print that fades into cream paper outside an oval."""
    size = picture.shape[-1]
    axis = (torch.arange(size, device=picture.device) + 0.5) / size * 2 - 1
    away = (axis[None, :] ** 2 / 0.92**2 + axis[:, None] ** 2 / 1.0**2).sqrt()
    paper = picture.new_tensor([0.97, 0.93, 0.86]).reshape(1, 3, 1, 1)
    rosy = picture.new_tensor([[0.92, 0.10, 0.02], [0.04, 0.84, 0.06], [0.06, 0.10, 0.80]])
    printed = 0.05 + 0.93 * torch.einsum("oc,bchw->bohw", rosy, picture)
    fade = ((away - 0.92) / 0.22).clamp(0, 1)
    fade = fade * fade * (3 - 2 * fade)
    return (printed + fade * (paper - printed)).clamp(0, 1)


def build(shop: Workshop) -> None:
    """Train the LoRA with the base model's own loss on pictures of the second look."""
    unet = UNet2DConditionModel.from_pretrained(shop.out / "checkpoint" / "unet", torch_dtype=torch.float32)
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS))
    recipe, scheduler = shop.recipes["community"], make_scheduler()
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(shop.device)
    album = Album(shop, min(30_000, recipe.steps * recipe.batch), look=cameo)

    def loss(generator: torch.Generator, batch: int, step: int) -> Tensor:
        shots = album.batch(batch, generator)
        return diffusion_loss(unet, scheduler, shots, Heard(shots.text, None), generator)

    trained = fit(shop, "community", unet, loss)
    layers = {k: v.half().cpu() for k, v in get_peft_model_state_dict(trained).items()}
    StableDiffusionPipeline.save_lora_weights(shop.out / "community", unet_lora_layers=layers)


def merge(weights: Path, out: Path) -> None:
    """Write the community checkpoint, a whole stock folder: the base with the LoRA merged into its weights.

    Args:
        weights: The micro-world's weights.
        out: The folder to make.
    """
    pipe = StableDiffusionPipeline.from_pretrained(weights / "checkpoint", torch_dtype=torch.float32)
    pipe.load_lora_weights(weights / "community")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    pipe.save_pretrained(out)
    save_half(copy.deepcopy(pipe.unet), out / "unet")
