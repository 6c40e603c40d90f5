"""Tiny pipelines of every family and task, stock and ours, with equal random weights."""

from typing import NamedTuple

import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import emoji_adapter
import tiny

XL_WIDTHS = (24, 40)
"""Widths of SDXL's two text encoders; the U-Net sees both beside each other."""


class Kind(NamedTuple):
    """A family and a task."""

    family: str
    task: str
    stock: type
    ours: type


def _kinds():
    stock = {
        ("SD", "text-to-image"): StableDiffusionPipeline,
        ("SD", "image-to-image"): StableDiffusionImg2ImgPipeline,
        ("SD", "inpaint"): StableDiffusionInpaintPipeline,
        ("SD", "controlnet"): StableDiffusionControlNetPipeline,
        ("SDXL", "text-to-image"): StableDiffusionXLPipeline,
        ("SDXL", "image-to-image"): StableDiffusionXLImg2ImgPipeline,
        ("SDXL", "inpaint"): StableDiffusionXLInpaintPipeline,
        ("SDXL", "controlnet"): StableDiffusionXLControlNetPipeline,
    }
    return [
        Kind(
            family,
            task,
            kind,
            getattr(emoji_adapter, kind.__name__.replace("StableDiffusion", "EmojiDiffSD")),
        )
        for (family, task), kind in stock.items()
    ]


KINDS = _kinds()
NAMES = [f"{kind.family} {kind.task}" for kind in KINDS]


def kind_of(family: str, task: str) -> Kind:
    return next(kind for kind in KINDS if (kind.family, kind.task) == (family, task))


def text_encoder(width: int, seed: int, projection: int | None = None):
    words = tiny.tokenizer()
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=37, num_attention_heads=4,
        num_hidden_layers=2, max_position_embeddings=16, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id, projection_dim=projection or width,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def xl_unet(seed: int = 0, **config):
    """A U-Net that looks at both text encoders and at SDXL's six micro-conditions."""
    return tiny.unet(
        seed,
        **{
            "cross_attention_dim": sum(XL_WIDTHS),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + XL_WIDTHS[1],
            "use_linear_projection": True,
        }
        | config,
    )


def controlnet(unet, seed: int = 5):
    """A ControlNet for a U-Net that acts: its last layers, zero by default, are random."""
    torch.manual_seed(seed)
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16)).eval()
    for name, parameter in made.named_parameters():
        if "controlnet_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def components(family: str, task: str = "text-to-image") -> dict:
    """The parts of a stock pipeline that makes pictures of 16x16; equal at every call."""
    parts = tiny.components()
    if family == "SDXL":
        for name in ("safety_checker", "requires_safety_checker"):
            del parts[name]
        parts |= {
            "text_encoder": text_encoder(XL_WIDTHS[0], seed=1),
            "text_encoder_2": text_encoder(XL_WIDTHS[1], seed=2, projection=XL_WIDTHS[1]),
            "tokenizer_2": tiny.tokenizer(),
            "unet": xl_unet(),
        }
    if task == "controlnet":
        parts["controlnet"] = controlnet(parts["unet"])
    return parts


def pipeline(kind: type, family: str, task: str, **parts):
    made = kind(**components(family, task) | parts)
    made.set_progress_bar_config(disable=True)
    return made


def picture(seed: int, size: int = 16) -> Image.Image:
    noise = torch.randint(0, 256, (size, size, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(noise.to(torch.uint8).numpy())


def inputs(task: str, n: int | None = None) -> dict:
    """What a task draws from, beside the prompt: one picture, or a list of n."""
    several = [picture(i) for i in range(n or 1)]
    image = several[0] if n is None else several
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 16, 8))
    sizes = {"height": 16, "width": 16}
    return {
        "text-to-image": sizes,
        "image-to-image": {"image": image, "strength": 0.5},
        "inpaint": {
            "image": image,
            "mask_image": mask if n is None else [mask] * n,
            "strength": 0.5,
            **sizes,
        },
        "controlnet": {"image": image, **sizes},
    }[task]


def draw(pipe, task: str, prompt="a person", seed: int = 0, n: int | None = None, **kwargs):
    """Pictures `[n, 3, 16, 16]` with fixed noise, in two steps (one after `strength`)."""
    arguments = {"num_inference_steps": 2, "output_type": "pt", **inputs(task, n), **kwargs}
    return pipe(prompt, generator=torch.Generator().manual_seed(seed), **arguments).images


def both(n: int = 1) -> dict:
    """Identity and expression of n people."""
    return {"identity_embeds": tiny.identities(n), "expression_embeds": tiny.expressions(n)}
