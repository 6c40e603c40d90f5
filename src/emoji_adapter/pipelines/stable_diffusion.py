"""The pipelines of the Stable Diffusion 1 and 2 family: thin, everything is in the mixin."""

from typing import Any, ClassVar

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.mixin import EmojiAdapterMixin
from emoji_adapter.pipelines.signature import with_stock_arguments


class EmojiDiffSDPipeline(
    EmojiAdapterMixin, EmojiDiffPipeline, StableDiffusionPipeline, family="SD", task="text-to-image"
):
    """Text to image with Stable Diffusion 1 or 2, a person's identity and an expression.

    All of `StableDiffusionPipeline` works as it does there; see `EmojiAdapterMixin` for what is added.

    Args:
        emoji_adapter: an adapter to start with; usually `load_emoji_adapter` is called instead. The other
            arguments are those of `StableDiffusionPipeline`.
    """

    _optional_components: ClassVar[list[str]] = [
        *StableDiffusionPipeline._optional_components,
        "emoji_adapter",
    ]
    _exclude_from_cpu_offload: ClassVar[list[str]] = [
        *StableDiffusionPipeline._exclude_from_cpu_offload,
        "emoji_adapter",
    ]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        safety_checker: StableDiffusionSafetyChecker | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        requires_safety_checker: bool = True,
        emoji_adapter: EmojiAdapter | None = None,
    ):
        super().__init__(
            vae,
            text_encoder,
            tokenizer,
            unet,
            scheduler,
            safety_checker,
            feature_extractor,
            image_encoder,
            requires_safety_checker,
        )
        self._start(emoji_adapter)

    @with_stock_arguments(StableDiffusionPipeline.__call__, EmojiAdapterMixin.__call__)
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `with_stock_arguments`."""
        return super().__call__(*args, **kwargs)
