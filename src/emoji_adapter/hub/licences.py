"""Licences of what an adapter builds on, as its card tells them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoji_adapter.errors import InputError
from emoji_adapter.faces.packs import MICRO, NON_COMMERCIAL, pack_with, recogniser_id

BASES = {
    "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5", "creativeml-openrail-m"),
    "sdxl": ("stabilityai/stable-diffusion-xl-base-1.0", "openrail++"),
}
"""The checkpoint that stands for a family on the Hub, and its licence."""

ENCODERS = {
    MICRO: "apache-2.0 (embedded in emoji_adapter)",
    "h94/IP-Adapter": "apache-2.0",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": "mit",
}
"""Licences of expression encoders in use."""

HUB_LICENCES = {
    "apache-2.0", "mit", "openrail", "openrail++", "creativeml-openrail-m", "bsd-3-clause", "cc0-1.0",
    "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "gpl-3.0", "agpl-3.0",
    "lgpl-3.0",
}  # fmt: skip
"""A part of the licences that the Hub knows: https://huggingface.co/docs/hub/repositories-licenses."""

SWAPPER = "inswapper"
"""How the names of insightface's face swappers begin."""

_SEE = "see its card"
_OWN = "its authors' own: ask them"


@dataclass(frozen=True)
class Part:
    """Something that an adapter builds on.

    Attributes:
        role: what it does there.
        name: Hub id or name.
        licence: of its weights, in words.
    """

    role: str
    name: str
    licence: str


def base_model_of(config: Mapping[str, Any], base_model: str | None) -> str:
    """The Hub id of the base model.

    Args:
        config: configuration of the adapter.
        base_model: as the user gave it; None takes the checkpoint that stands for the family.

    Raises:
        InputError: none was given and none stands for the family.
    """
    if base_model is not None:
        return base_model
    if config["base_family"] not in BASES:
        raise InputError(
            f"No checkpoint on the Hub stands for the family {config['base_family']!r}: say which one the "
            "adapter was trained on with base_model= (--base-model OWNER/NAME)."
        )
    return BASES[config["base_family"]][0]


def parts(config: Mapping[str, Any], base_model: str) -> list[Part]:
    """What an adapter needs beside itself."""
    encoder, pack = config["expression_encoder"], config["identity_encoder"]
    second = config["second_recogniser"]
    return [
        Part("base model", base_model, dict(BASES.values()).get(base_model, _SEE)),
        Part("face pack (identity)", pack, _pack_licence(pack)),
        *([] if second is None else [Part("second recogniser (identity)", second, _pack_licence(second))]),
        Part("expression encoder", encoder, ENCODERS.get(encoder, _SEE)),
    ]


def non_commercial(config: Mapping[str, Any]) -> list[str]:
    """Recognisers that an adapter needs and that are for non-commercial research only."""
    named = (config["identity_encoder"], config["second_recogniser"])
    return [name for name in named if name is not None and pack_with(name)]


def network_licence(file: Path) -> str:
    """The licence of a face swapper or a recogniser that lies by itself, in words.

    Args:
        file: .onnx; insightface's recognisers are told by content, its swappers by name.
    """
    known = file.stem.startswith(SWAPPER) or pack_with(recogniser_id(file))
    return f"{NON_COMMERCIAL} (insightface)" if known else _OWN


def _pack_licence(pack: str) -> str:
    if pack == MICRO:
        return "apache-2.0 (embedded in emoji_adapter)"
    return f"{NON_COMMERCIAL} (insightface)" if pack_with(pack) else _OWN
