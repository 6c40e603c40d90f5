"""The modules of an adapter, from its configuration."""

from typing import Any

from torch import nn

from emoji_adapter.errors import InputError
from emoji_adapter.models.identity_lora import LowRankUpdates
from emoji_adapter.models.keys_values import LayerProjections
from emoji_adapter.models.projection import FaceIDPlusProjection, MLPProjection
from emoji_adapter.models.resampler import ExpressionResampler

CHOICES = {
    "identity_input": ("unit_variance", "unit_length"),
    "identity_negative": ("absent", "zeros"),
    "expression_negative": ("absent", "zeros"),
    "blendshape_set": ("arkit", "flame"),
}
"""Settings that are words, and the words they may be."""

PARTS = (
    "identity_projection",
    "second_identity_projection",
    "expression_resampler",
    "blendshape_projection",
)
"""What turns inputs into tokens."""


def build_parts(config: Any) -> dict[str, nn.Module | None]:
    """Name -> module of every part; None for those that a configuration of `EmojiAdapter` does without.

    Raises:
        InputError: a setting has a value that it cannot have.
    """
    for name, words in CHOICES.items():
        if config[name] not in words:
            raise InputError(f"{name} must be {' or '.join(map(repr, words))}, got {config[name]!r}.")
    parts: dict[str, nn.Module | None] = dict.fromkeys(PARTS)
    if config["identity_dim"] is not None:
        parts["identity_projection"] = _identity_projection(config)
    if config["expression_dim"] is not None:
        parts["expression_resampler"] = ExpressionResampler(
            input_dim=config["expression_dim"],
            width=config["resampler_width"],
            depth=config["resampler_depth"],
            heads=config["resampler_heads"],
            mult=config["resampler_mult"],
            tokens=config["expression_tokens"],
            output_dim=config["cross_attention_dim"],
        )
    if config["blendshapes"] is not None:
        parts["blendshape_projection"] = MLPProjection(
            input_dim=config["blendshapes"],
            width=config["blendshape_width"],
            tokens=config["expression_tokens"],
            output_dim=config["cross_attention_dim"],
        )
    if config["second_recogniser"] is not None:
        parts["second_identity_projection"] = _second_projection(config)
    return parts | _layer_parts(config)


def _second_projection(config: Any) -> MLPProjection:
    if config["identity_dim"] is None or config["identity_features_dim"] is not None:
        other = "no identity" if config["identity_dim"] is None else "CLIP features of the face"
        raise InputError(
            "second_recogniser stands beside the face pack's recogniser alone, got an adapter that reads "
            f"{other}. Leave second_recogniser out."
        )
    return MLPProjection(**_identity_sizes(config))


def _identity_projection(config: Any) -> nn.Module:
    sizes = _identity_sizes(config)
    if config["identity_features_dim"] is None:
        return MLPProjection(**sizes)
    return FaceIDPlusProjection(
        **sizes, features_dim=config["identity_features_dim"], shortcut=config["identity_shortcut"]
    )


def _identity_sizes(config: Any) -> dict[str, int]:
    return {
        "input_dim": config["identity_dim"],
        "width": config["identity_width"],
        "tokens": config["identity_tokens"],
        "output_dim": config["cross_attention_dim"],
    }


def _layer_parts(config: Any) -> dict[str, nn.Module | None]:
    dims, width, rank = config["layer_dims"] or {}, config["cross_attention_dim"], config["kv_rank"]
    parts: dict[str, nn.Module | None] = {"identity_lora": None}
    for branch in ("identity", "expression"):
        chosen = {name: dims[name] for name in config[f"{branch}_layers"] or []}
        parts[f"to_k_{branch}"] = LayerProjections(chosen, width, rank)
        parts[f"to_v_{branch}"] = LayerProjections(chosen, width, rank)
    if config["identity_lora_rank"] is not None:
        layers = config["identity_lora_layers"]
        layers = config["identity_layers"] if layers is None else layers
        parts["identity_lora"] = LowRankUpdates(layers or [], dims, width, config["identity_lora_rank"])
    return parts
