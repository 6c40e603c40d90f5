"""The pipelines of the Stable Diffusion 1 and 2 family: thin, everything is in the mixin."""

from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import (
    StableDiffusionImg2ImgPipeline,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint import (
    StableDiffusionInpaintPipeline,
)

from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.mixin import EmojiAdapterMixin


class EmojiDiffSDPipeline(
    EmojiAdapterMixin, EmojiDiffPipeline, StableDiffusionPipeline, family="SD", task="text-to-image"
):
    """Text to image with Stable Diffusion 1 or 2, a person's identity and an expression.

    All of `StableDiffusionPipeline` works as it does there; see `EmojiAdapterMixin` for what is added.
    """


class EmojiDiffSDImg2ImgPipeline(
    EmojiAdapterMixin, EmojiDiffPipeline, StableDiffusionImg2ImgPipeline, family="SD", task="image-to-image"
):
    """Image to image with Stable Diffusion 1 or 2, a person's identity and an expression.

    All of `StableDiffusionImg2ImgPipeline` works as it does there; see `EmojiAdapterMixin` for what is added.
    `control_start` and `control_end` are shares of the steps that `strength` leaves to be run.
    """


class EmojiDiffSDInpaintPipeline(
    EmojiAdapterMixin, EmojiDiffPipeline, StableDiffusionInpaintPipeline, family="SD", task="inpaint"
):
    """Inpainting with Stable Diffusion 1 or 2, a person's identity and an expression.

    All of `StableDiffusionInpaintPipeline` works as it does there, with ordinary U-Nets and those made for
    inpainting; see `EmojiAdapterMixin` for what is added. `control_start` and `control_end` are shares of the
    steps that `strength` leaves to be run.
    """


class EmojiDiffSDControlNetPipeline(
    EmojiAdapterMixin, EmojiDiffPipeline, StableDiffusionControlNetPipeline, family="SD", task="controlnet"
):
    """Text to image with a ControlNet on Stable Diffusion 1 or 2, a person's identity and an expression.

    All of `StableDiffusionControlNetPipeline` works as it does there; see `EmojiAdapterMixin` for what is
    added. The ControlNet itself sees neither identity nor expression.
    """
