"""`EmojiAdapter`: all weights of the plugin, and the keys and values that they make."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from emoji_adapter.errors import AdapterMismatchError
from emoji_adapter.models.attachment import attach, detach, is_attached
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.models.keys_values import LayerProjections, keys_and_values
from emoji_adapter.models.layers import (
    attention_of,
    base_family,
    cross_attention_layers,
    scale_of_layers,
    select,
)
from emoji_adapter.models.parts import (
    BRANCHES as BRANCHES,
    MICRO as MICRO,
    is_adapter_parameter as is_adapter_parameter,
)
from emoji_adapter.models.projection import MLPProjection
from emoji_adapter.models.resampler import ExpressionResampler
from emoji_adapter.models.saving import header, whole_folder

FORMAT_VERSION = 1
"""Version of the file format; a file of a later one is refused."""

Scale = float | Mapping[str, float] | Tensor


class EmojiAdapter(ModelMixin, ConfigMixin):
    """Identity and expression branch for a frozen Stable Diffusion U-Net.

    `for_unet` makes a fresh one for a U-Net. Sizes default to those of IP-Adapter-FaceID (identity) and of
    IP-Adapter Plus (expression); the choice of layers is ours and, for SD1.5 and SDXL, not measured.

    Args:
        base_family: "sd15", "sd2", "sdxl" or "other".
        cross_attention_dim: width of the text features of the U-Net; the length of every token.
        layer_dims: name -> width of the layers that either branch acts in.
        identity_layers: layers of the identity branch, a part of `layer_dims`.
        expression_layers: layers of the expression branch, likewise.
        identity_dim: length of the recogniser's embedding.
        identity_tokens: tokens of one identity.
        identity_width: hidden layer of the identity projection.
        expression_dim: length of a patch feature of the expression encoder.
        expression_tokens: tokens of one expression, from patch features and from blendshapes alike.
        resampler_width: inner width of the resampler.
        resampler_depth: its layers.
        resampler_heads: its attention heads.
        resampler_mult: its feed-forward width in multiples of `resampler_width`.
        blendshapes: number of blendshapes (ARKit: 52).
        blendshape_width: hidden layer of the blendshape projection.
        kv_rank: rank of the key and value projections; None for full rank.
        identity_encoder: id of the face pack that makes the embeddings, e.g. "micro", "buffalo_l".
        expression_encoder: id of the expression encoder, e.g. "micro" or a Hub id.
        expression_crop: how an expression picture is cropped (`ExpressionCrop.to_dict()`).
        recipe: how it was trained, in words or as an id.
        licence, commit: licence of the weights; commit of the code that trained it.
        format_version: version of the file format.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(  # noqa: PLR0913 (diffusers keeps each argument in config.json)
        self,
        base_family: str = "other",
        cross_attention_dim: int = 128,
        layer_dims: dict[str, int] | None = None,
        identity_layers: list[str] | None = None,
        expression_layers: list[str] | None = None,
        identity_dim: int = 512,
        identity_tokens: int = 4,
        identity_width: int = 1024,
        expression_dim: int = 1280,
        expression_tokens: int = 16,
        resampler_width: int = 768,
        resampler_depth: int = 4,
        resampler_heads: int = 12,
        resampler_mult: int = 4,
        blendshapes: int = 52,
        blendshape_width: int = 256,
        kv_rank: int | None = None,
        identity_encoder: str = "micro",
        expression_encoder: str = "micro",
        expression_crop: dict[str, Any] | None = None,
        recipe: str = "",
        licence: str = "apache-2.0",
        commit: str = "",
        format_version: int = FORMAT_VERSION,
    ):
        super().__init__()
        layer_dims = layer_dims or {}
        self.identity_projection = MLPProjection(
            input_dim=identity_dim,
            width=identity_width,
            tokens=identity_tokens,
            output_dim=cross_attention_dim,
        )
        self.expression_resampler = ExpressionResampler(
            input_dim=expression_dim,
            width=resampler_width,
            depth=resampler_depth,
            heads=resampler_heads,
            mult=resampler_mult,
            tokens=expression_tokens,
            output_dim=cross_attention_dim,
        )
        self.blendshape_projection = MLPProjection(
            input_dim=blendshapes,
            width=blendshape_width,
            tokens=expression_tokens,
            output_dim=cross_attention_dim,
        )
        identity_dims = {name: layer_dims[name] for name in identity_layers or []}
        expression_dims = {name: layer_dims[name] for name in expression_layers or []}
        self.to_k_identity = LayerProjections(identity_dims, cross_attention_dim, kv_rank)
        self.to_v_identity = LayerProjections(identity_dims, cross_attention_dim, kv_rank)
        self.to_k_expression = LayerProjections(expression_dims, cross_attention_dim, kv_rank)
        self.to_v_expression = LayerProjections(expression_dims, cross_attention_dim, kv_rank)

    @classmethod
    def for_unet(
        cls,
        unet: UNet2DConditionModel,
        identity_layers: str | Sequence[str] = "all",
        expression_layers: str | Sequence[str] = "all",
        **config: Any,
    ) -> "EmojiAdapter":
        """A fresh adapter that fits a U-Net and, until trained, does not change its output at all.

        Keys start as the U-Net's own text keys (IP-Adapter's choice), values at zero (ours: a branch that
        has learned nothing yet does no harm).

        Args:
            unet: a `UNet2DConditionModel`.
            identity_layers: where identity acts: patterns, see `models.layers.select`.
            expression_layers: where the expression acts.
            **config: further arguments of the constructor.
        """
        dims = cross_attention_layers(unet)
        chosen = {
            "identity_layers": select(dims, identity_layers),
            "expression_layers": select(dims, expression_layers),
        }
        used = set(chosen["identity_layers"]) | set(chosen["expression_layers"])
        adapter = cls(
            base_family=base_family(unet),
            cross_attention_dim=unet.config["cross_attention_dim"],
            layer_dims={name: dim for name, dim in dims.items() if name in used},
            **chosen,
            **config,
        )
        for to_k, to_v in adapter._projections().values():
            for name in to_k.dims:
                text_keys = attention_of(unet, name).to_k
                assert text_keys is not None  # cross-attention always has its own
                to_k[name].set_to(text_keys.weight)
                to_v[name].set_to_zero()
        return adapter

    @property
    def layers(self) -> list[str]:
        """The layers that either branch acts in, in the order of the U-Net."""
        return list(self.config["layer_dims"] or {})

    def identity_tokens_of(self, embeds: Tensor) -> Float[Tensor, "batch tokens dim"]:
        """Tokens of identity embeddings `[batch, identity_dim]`; only their direction counts.

        They are scaled to unit variance first (our choice: else the bias of the first layer drowns them).
        """
        self._require(embeds, "identity embeddings", (self.config["identity_dim"],))
        return self.identity_projection(normalize(embeds, dim=-1) * self.config["identity_dim"] ** 0.5)

    def expression_tokens_of(self, features: Tensor) -> Float[Tensor, "batch tokens dim"]:
        """Tokens of the patch features `[batch, patches, expression_dim]` of expression pictures."""
        self._require(features, "expression features", (None, self.config["expression_dim"]))
        return self.expression_resampler(features)

    def blendshape_tokens_of(self, blendshapes: Tensor) -> Float[Tensor, "batch tokens dim"]:
        """Tokens of blendshapes `[batch, blendshapes]`, each in [0, 1], in ARKit's order."""
        self._require(blendshapes, "blendshapes", (self.config["blendshapes"],))
        return self.blendshape_projection(blendshapes)

    def forward(
        self,
        identity_tokens: Float[Tensor, "batch identity_tokens dim"] | None = None,
        expression_tokens: Float[Tensor, "batch expression_tokens dim"] | None = None,
        identity_scale: Scale = 1.0,
        expression_scale: Scale = 1.0,
    ) -> dict[str, LayerKV]:
        """Keys and values of every selected layer.

        They travel as `cross_attention_kwargs={"ip_hidden_states": ...}` and do not depend on
        the timestep: one call serves all steps.

        Args:
            identity_tokens: from `identity_tokens_of`; None leaves the branch out.
            expression_tokens: from `expression_tokens_of` or `blendshape_tokens_of`; None leaves the branch
                out.
            identity_scale: strength, folded into the values: a number; a mapping pattern -> number (layers
                that no pattern means get 0); or a tensor `[batch]`, one number for each row (0: condition
                dropped).
            expression_scale: likewise.
        """
        given = {
            "identity": (identity_tokens, identity_scale),
            "expression": (expression_tokens, expression_scale),
        }
        made = {branch: self._keys_and_values(branch, *arguments) for branch, arguments in given.items()}
        absent = (None, None)
        return {
            name: LayerKV(*made["identity"].get(name, absent), *made["expression"].get(name, absent))
            for name in self.layers
            if any(name in kv for kv in made.values())
        }

    def attach(self, unet: UNet2DConditionModel) -> None:
        """Makes the selected layers of a U-Net listen. `detach` is the exact inverse.

        Raises:
            AdapterMismatchError: a layer is missing, already listens, or has a processor that is not a stock
                one. The U-Net is then untouched.
        """
        attach(unet, self.layers)

    def detach(self, unet: UNet2DConditionModel) -> None:
        """Gives back the processors that `attach` found; does nothing to a U-Net that does not listen."""
        detach(unet)

    def is_attached(self, unet: UNet2DConditionModel) -> bool:
        """Whether every selected layer of a U-Net listens."""
        return is_attached(unet, self.layers)

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
        name = f"diffusion_pytorch_model{'.' + variant if variant else ''}.safetensors"
        with whole_folder(save_directory) as folder:
            self.save_config(folder)
            weights = {key: value.contiguous() for key, value in self.state_dict().items()}
            save_file(weights, folder / name, header(self.config))

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

    @staticmethod
    def _require(tensor: Tensor, what: str, shape: tuple[int | None, ...]) -> None:
        wanted = ("batch", *("any" if n is None else n for n in shape))
        fits = tensor.ndim == len(wanted) and all(
            n in (None, m) for n, m in zip(shape, tensor.shape[1:], strict=True)
        )
        if not fits:
            raise AdapterMismatchError(
                f"This adapter takes {what} of shape [{', '.join(map(str, wanted))}], got "
                f"{list(tensor.shape)}. Encode with the encoder that the adapter names."
            )
