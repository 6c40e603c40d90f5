"""The pipelines of the Stable Diffusion XL family: thin, everything is in the mixin."""

from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import StableDiffusionXLControlNetPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img import (
    StableDiffusionXLImg2ImgPipeline,
)
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_inpaint import (
    StableDiffusionXLInpaintPipeline,
)

from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.mixin import EmojiAdapterMixin


class EmojiDiffSDXLPipeline(
    EmojiAdapterMixin, EmojiDiffPipeline, StableDiffusionXLPipeline, family="SDXL", task="text-to-image"
):
    """Text to image with Stable Diffusion XL, a person's identity and an expression.

    All of `StableDiffusionXLPipeline` works as it does there; see `EmojiAdapterMixin` for what is added.
    """


class EmojiDiffSDXLImg2ImgPipeline(
    EmojiAdapterMixin,
    EmojiDiffPipeline,
    StableDiffusionXLImg2ImgPipeline,
    family="SDXL",
    task="image-to-image",
):
    """Image to image with Stable Diffusion XL, a person's identity and an expression.

    All of `StableDiffusionXLImg2ImgPipeline` works as it does there; see `EmojiAdapterMixin` for what is
    added. `control_start` and `control_end` are shares of the steps that `strength` leaves to be run.
    """


class EmojiDiffSDXLInpaintPipeline(
    EmojiAdapterMixin, EmojiDiffPipeline, StableDiffusionXLInpaintPipeline, family="SDXL", task="inpaint"
):
    """Inpainting with Stable Diffusion XL, a person's identity and an expression.

    All of `StableDiffusionXLInpaintPipeline` works as it does there, with ordinary U-Nets and those made for
    inpainting; see `EmojiAdapterMixin` for what is added. `control_start` and `control_end` are shares of the
    steps that `strength` leaves to be run.
    """


class EmojiDiffSDXLControlNetPipeline(
    EmojiAdapterMixin,
    EmojiDiffPipeline,
    StableDiffusionXLControlNetPipeline,
    family="SDXL",
    task="controlnet",
):
    """Text to image with a ControlNet on Stable Diffusion XL, a person's identity and an expression.

    All of `StableDiffusionXLControlNetPipeline` works as it does there; see `EmojiAdapterMixin` for what is
    added. The ControlNet itself sees neither identity nor expression.
    """
