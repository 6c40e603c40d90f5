"""The adapter at work in IDI: templates' expressions on other people, in batches, on the device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emoji_adapter.data.captions import text_hash
from emoji_adapter.data.examine import ExamineSettings
from emoji_adapter.data.idi.config import IdiConfig
from emoji_adapter.data.idi.inspect import InspectSettings
from emoji_adapter.data.latents import weights_hash
from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.packs import how_to_get, same_pack
from emoji_adapter.faces.pixels import from_bytes, to_bytes
from emoji_adapter.pipelines.base import EmojiDiffPipeline
from emoji_adapter.pipelines.guidance import guidance_of


@dataclass(frozen=True)
class Renderer:
    """A pipeline with the adapter of the last round.

    Attributes:
        pipe: on the device.
        config: what decides a round.
    """

    pipe: Any
    config: IdiConfig

    @classmethod
    def load(cls, config: IdiConfig, device: str = "cpu") -> "Renderer":
        """Load the models that a round renders with.

        Raises:
            WeightsNotFoundError: one is missing.
            AdapterMismatchError: the adapter was trained with another face pack, or fits another family.
        """
        pipe = EmojiDiffPipeline.from_pretrained(config.checkpoint)
        pipe.load_emoji_adapter(config.adapter)
        trained, pack = pipe.emoji_adapter.config["identity_encoder"], FaceAnalyzer(config.pack).pack_id
        if not same_pack(trained, pack):
            raise AdapterMismatchError(
                f"The adapter {config.adapter!r} was trained with the face pack {trained!r}, the settings "
                f"name {pack!r}. Set pack to the one that the adapter names. {how_to_get(trained)}"
            )
        pipe.to(device, torch.bfloat16 if config.precision == "bf16" else torch.float32)
        pipe.set_progress_bar_config(disable=True)
        pipe.set_emoji_adapter_scale(identity=config.identity_scale, expression=config.expression_scale)
        return cls(pipe, config)

    @torch.no_grad()
    def __call__(
        self, identity: np.ndarray, crops: np.ndarray, prompts: list[str], seeds: list[int]
    ) -> np.ndarray:
        """Draw a batch, see `synthesis.Render`."""
        pipe = self.pipe
        encoder = pipe.face_encoders.expression_encoder.to(pipe.device)
        pixels = from_bytes(torch.from_numpy(crops).to(pipe.device))
        images: Tensor = pipe(
            prompts,
            identity_embeds=torch.from_numpy(identity),
            expression_embeds=encoder.encode(pixels),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            num_inference_steps=self.config.steps,
            guidance_scale=guidance_of(pipe, self.config.checkpoint, self.config.guidance),
            output_type="pt",
        ).images
        return to_bytes(images)

    def inspect_settings(self) -> InspectSettings:
        """What the workers are told: crops are cut as the adapter's expression encoder wants them."""
        config, pipe = self.config, self.pipe
        examine = ExamineSettings(
            pack=config.pack,
            teacher=config.teacher,
            crop=pipe.face_encoders.expression_encoder.crop,
            picture_size=int(pipe.unet.config.sample_size) * int(pipe.vae_scale_factor),
            min_face=config.min_face,
            detector_size=config.detector_size,
            second_recogniser=pipe.emoji_adapter.config["second_recogniser"],
        )
        return InspectSettings(examine, config.swapper, cycle=config.thresholds.cycle is not None)

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the weights that render: a round is not resumed with others of the same name."""
        hashes = {name: weights_hash(getattr(self.pipe, name)) for name in ("unet", "vae", "emoji_adapter")}
        hashes["text_encoder"] = text_hash(self.pipe)
        return {f"{name} weights": value for name, value in hashes.items()}
