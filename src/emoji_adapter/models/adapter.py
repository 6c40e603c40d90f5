"""`EmojiAdapter`: all weights of the plugin, and the keys and values that they make."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from emoji_adapter.models.attachment import attach, detach, is_attached
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.models.building import build_parts
from emoji_adapter.models.compound import expression_tokens, identity_tokens
from emoji_adapter.models.family_defaults import fresh_config
from emoji_adapter.models.identity_lora import LowRankUpdates, detach_lora
from emoji_adapter.models.keys_values import LayerProjections, keys_and_values
from emoji_adapter.models.layers import attention_of, scale_of_layers
from emoji_adapter.models.parts import (
    BRANCHES as BRANCHES,
    MICRO as MICRO,
    is_adapter_parameter as is_adapter_parameter,
    require_part,
    require_shape,
)
from emoji_adapter.models.projection import FaceIDPlusProjection, MLPProjection
from emoji_adapter.models.publishing import PublishMixin
from emoji_adapter.models.resampler import ExpressionResampler
from emoji_adapter.models.saving import header, weight_name, whole_folder, write_config

FORMAT_VERSION = 4
"""Version of the file format; a file of a later one is refused, of an earlier one brought up to this."""

Scale = float | Mapping[str, float] | Tensor


class EmojiAdapter(PublishMixin, ModelMixin, ConfigMixin):
    """Identity and expression branch for a frozen Stable Diffusion U-Net.

    `for_unet` makes a fresh one for a U-Net. Sizes default to those of IP-Adapter-FaceID (identity) and of
    IP-Adapter Plus (expression); the choice of layers is ours and, for SD1.5 and SDXL, not measured.

    Args:
        base_family: "sd15", "sd2", "sdxl" or "other".
        cross_attention_dim: width of the text features of the U-Net; the length of every token.
        layer_dims: name -> width of the layers that either branch acts in.
        identity_layers: layers of the identity branch, a part of `layer_dims`.
        expression_layers: layers of the expression branch, likewise.
        identity_dim: length of the recogniser's embedding; None: no identity is understood.
        identity_tokens: tokens of one identity.
        identity_width: hidden layer of the identity projection.
        identity_input: how an embedding is scaled first: "unit_variance" (ours) or "unit_length" (h94's).
        identity_features_dim: length of the CLIP features of the face that are read beside the embedding, as
            in IP-Adapter-FaceID-Plus; None: the embedding alone.
        identity_features_encoder: id of the CLIP vision tower that makes them.
        identity_shortcut: whether the embedding's tokens are added to the result (FaceID-PlusV2).
        identity_negative: what negative rows of guidance see: "absent" (no term) or "zeros" (IP-Adapters').
        identity_lora_rank: rank of the LoRA that acts while an identity does; None: none.
        identity_lora_layers: attention layers, self or cross, that have it; by default the identity layers.
        expression_dim: length of a patch feature of the expression encoder; None: no picture is understood.
        expression_tokens: tokens of one expression, from patch features and from blendshapes alike.
        resampler_width: inner width of the resampler.
        resampler_depth: its layers.
        resampler_heads: its attention heads.
        resampler_mult: its feed-forward width in multiples of `resampler_width`.
        expression_negative: as `identity_negative`.
        blendshapes: length of the expression code (ARKit: 52); None: no code is understood.
        blendshape_set: what its numbers mean: "arkit" or "flame" (50 expression, 2 eyelid, 3 jaw numbers).
        blendshape_width: hidden layer of the projection of the code.
        kv_rank: rank of the key and value projections; None for full rank.
        identity_encoder: id of the face pack that makes the embeddings, e.g. "micro", "buffalo_l".
        second_recogniser: id of that whose embedding stands beside the pack's (compound); None: none.
        expression_encoder: id of the expression encoder, e.g. "micro" or a Hub id.
        expression_teacher: id of the teacher whose code stands beside the features (compound); None: none.
        expression_crop: how an expression picture is cropped (`ExpressionCrop.to_dict()`).
        recipe: how it was trained, in words or as an id.
        licence, commit: licence of the weights; commit of the code that trained it.
        format_version: version of the file format.
    """

    _supports_gradient_checkpointing = False

    identity_projection: MLPProjection | FaceIDPlusProjection | None
    second_identity_projection: MLPProjection | None
    expression_resampler: ExpressionResampler | None
    blendshape_projection: MLPProjection | None
    to_k_identity: LayerProjections
    to_v_identity: LayerProjections
    to_k_expression: LayerProjections
    to_v_expression: LayerProjections
    identity_lora: LowRankUpdates | None

    @register_to_config
    def __init__(  # noqa: PLR0913 (diffusers keeps each argument in config.json)
        self,
        base_family: str = "other",
        cross_attention_dim: int = 128,
        layer_dims: dict[str, int] | None = None,
        identity_layers: list[str] | None = None,
        expression_layers: list[str] | None = None,
        identity_dim: int | None = 512,
        identity_tokens: int = 4,
        identity_width: int = 1024,
        identity_input: str = "unit_variance",
        identity_features_dim: int | None = None,
        identity_features_encoder: str | None = None,
        identity_shortcut: bool = False,
        identity_negative: str = "absent",
        identity_lora_rank: int | None = None,
        identity_lora_layers: list[str] | None = None,
        expression_dim: int | None = 1280,
        expression_tokens: int = 16,
        resampler_width: int = 768,
        resampler_depth: int = 4,
        resampler_heads: int = 12,
        resampler_mult: int = 4,
        expression_negative: str = "absent",
        blendshapes: int | None = 52,
        blendshape_set: str = "arkit",
        blendshape_width: int = 256,
        kv_rank: int | None = None,
        identity_encoder: str = "micro",
        second_recogniser: str | None = None,
        expression_encoder: str = "micro",
        expression_teacher: str | None = None,
        expression_crop: dict[str, Any] | None = None,
        recipe: str = "",
        licence: str = "apache-2.0",
        commit: str = "",
        format_version: int = FORMAT_VERSION,
    ):
        super().__init__()
        self.register_to_config(format_version=FORMAT_VERSION)
        for name, module in build_parts(self.config).items():
            self.add_module(name, module)

    @classmethod
    def for_unet(
        cls,
        unet: UNet2DConditionModel,
        identity_layers: str | Sequence[str] | None = None,
        expression_layers: str | Sequence[str] | None = None,
        **config: Any,
    ) -> "EmojiAdapter":
        """A fresh adapter that fits a U-Net.

        Keys and values start as the U-Net's own for text (IP-Adapter's choice), so that a token that is like
        the text state of "freckled" does what that word does: only tokens have to be learnt from nothing.

        Args:
            unet: a `UNet2DConditionModel`.
            identity_layers: where identity acts: patterns of `models.layers.select`; None: family's default.
            expression_layers: where the expression acts.
            **config: further arguments of the constructor; what is left out is the family's default.
        """
        return cls(**fresh_config(unet, identity_layers, expression_layers, config)).start_like(unet)

    @torch.no_grad()
    def start_like(self, unet: UNet2DConditionModel) -> "EmojiAdapter":
        """Sets keys and values to those of a U-Net for text; returns the adapter itself."""
        for to_k, to_v in self._projections().values():
            for name in to_k.dims:
                text = attention_of(unet, name)
                assert text.to_k is not None and text.to_v is not None  # noqa: PT018 (of cross-attention)
                to_k[name].set_to(text.to_k.weight)
                to_v[name].set_to(text.to_v.weight)
        return self

    @property
    def layers(self) -> list[str]:
        """The layers that either branch acts in, in the order of the U-Net."""
        return list(self.config["layer_dims"] or {})

    def identity_tokens_of(
        self, embeds: Tensor, features: Tensor | None = None
    ) -> Float[Tensor, "batch *halves tokens dim"]:
        """Tokens of identity embeddings `[batch, identity_dim]`, or twice as long: see `models.compound`.

        Only their direction counts: unit variance first (our choice: elements of a unit vector of length 512
        are so small that the bias of the first layer would drown them), or unit length (`identity_input`).

        Args:
            embeds: of the recogniser.
            features: `[batch, patches, identity_features_dim]`, for adapters that read them, else None.
        """
        first = require_part(self.identity_projection, "identity")
        return identity_tokens(first, self.second_identity_projection, self.config, embeds, features)

    def expression_tokens_of(self, features: Tensor) -> Float[Tensor, "batch tokens dim"]:
        """Tokens of encoded expression pictures `[batch, patches, expression_dim]`, see `models.compound`."""
        resampler = require_part(self.expression_resampler, "expression pictures")
        return expression_tokens(resampler, self.blendshape_projection, self.config, features)

    def blendshape_tokens_of(self, blendshapes: Tensor) -> Float[Tensor, "batch tokens dim"]:
        """Tokens of expression codes `[batch, blendshapes]`: ARKit's blendshapes in [0, 1], or as told."""
        projection = require_part(self.blendshape_projection, "expression codes")
        require_shape(blendshapes, "blendshapes", (self.config["blendshapes"],))
        return projection(blendshapes)

    def forward(
        self,
        identity_tokens: Float[Tensor, "batch *halves identity_tokens dim"] | None = None,
        expression_tokens: Float[Tensor, "batch expression_tokens dim"] | None = None,
        identity_scale: Scale = 1.0,
        expression_scale: Scale = 1.0,
    ) -> dict[str, LayerKV]:
        """Keys and values of every selected layer.

        They travel as `cross_attention_kwargs={"ip_hidden_states": ...}` and do not depend on
        the timestep: one call serves all steps.

        Args:
            identity_tokens: from `identity_tokens_of`; None leaves the branch out.
            expression_tokens: from `expression_tokens_of` or `blendshape_tokens_of`; None: likewise.
            identity_scale: strength, folded into the values: a number; a mapping pattern -> number (layers
                that no pattern means get 0); or a tensor `[batch]`, one number for each row (0: condition
                dropped).
            expression_scale: likewise.
        """
        identity = self._keys_and_values("identity", identity_tokens, identity_scale)
        expression = self._keys_and_values("expression", expression_tokens, expression_scale)
        absent = (None, None)
        return {
            name: LayerKV(*identity.get(name, absent), *expression.get(name, absent))
            for name in self.layers
            if name in identity or name in expression
        }

    def attach(self, unet: UNet2DConditionModel) -> None:
        """Makes the selected layers of a U-Net listen. `detach` is the exact inverse.

        A LoRA part is put beside the U-Net's other LoRAs; it acts inside `lora_acting` only.

        Raises:
            AdapterMismatchError: a layer is missing, already listens, or has a foreign processor; or the
                adapter's LoRA cannot lie in it. The U-Net is then untouched.
        """
        lora = self.identity_lora
        if lora is not None:
            lora.check(unet)
        attach(unet, self.layers)
        if lora is not None:
            lora.attach(unet)

    def detach(self, unet: UNet2DConditionModel) -> None:
        """Gives back what `attach` found, if the U-Net listens."""
        detach(unet)
        detach_lora(unet)

    def is_attached(self, unet: UNet2DConditionModel) -> bool:
        """Whether every selected layer of a U-Net listens."""
        lora = self.identity_lora is None or self.identity_lora.is_attached(unet)
        return lora and is_attached(unet, self.layers)

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride] (sharding, flashpack: not here)
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        safe_serialization: bool = True,
        variant: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes `config.json` and `diffusion_pytorch_model.safetensors`; nothing is half-written.

        Args:
            save_directory: folder, made if missing.
            is_main_process: whether this process writes (several processes in training).
            safe_serialization: no pickle is written whatever it says; False (of a whole pipeline) only warns.
            variant: e.g. "fp16": becomes part of the file name, as in diffusers.
            **kwargs: of `ModelMixin.save_pretrained`; sharding and pushing are not done here.
        """
        if not is_main_process:
            return
        if not safe_serialization:
            logging.get_logger(__name__).warning("An emoji adapter is written as safetensors, never pickled.")
        with whole_folder(save_directory) as folder:
            write_config(self, folder)
            weights = {key: value.contiguous() for key, value in self.state_dict().items()}
            save_file(weights, folder / weight_name(variant), header(self.config))

    def _projections(self) -> dict[str, tuple[LayerProjections, LayerProjections]]:
        return {
            "identity": (self.to_k_identity, self.to_v_identity),
            "expression": (self.to_k_expression, self.to_v_expression),
        }

    def _keys_and_values(
        self, branch: str, tokens: Tensor | None, scale: Scale
    ) -> dict[str, tuple[Tensor, Tensor]]:
        if tokens is None:
            return {}
        to_k, to_v = self._projections()[branch]
        if isinstance(scale, Tensor):
            return keys_and_values(to_k, to_v, tokens, [1.0] * len(to_k.dims), scale)
        return keys_and_values(to_k, to_v, tokens, scale_of_layers(to_k.dims, scale))
