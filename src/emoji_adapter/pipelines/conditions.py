"""From embeddings of people and expressions to the keys and values of one call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.errors import InputError
from emoji_adapter.models.adapter import EmojiAdapter
from emoji_adapter.models.attention import LayerKV
from emoji_adapter.pipelines.arguments import LayerScale
from emoji_adapter.pipelines.pairing import rows_of
from emoji_adapter.pipelines.regions import Regions


@dataclass(frozen=True)
class Conditions:
    """What a call is told of faces; see `EmojiAdapterMixin.__call__` for the shapes.

    With several people in a picture the tensors have one axis more, after that of prompts.

    Attributes:
        identity_embeds: who, or None.
        identity_features: CLIP features of the same faces, for adapters that read them.
        expression_embeds: what the face does, or None.
        prompts: number of prompts.
        images_per_prompt: pictures made of each.
        regions: where each of several people is; None: one person, everywhere.
    """

    identity_embeds: Any
    identity_features: Any
    expression_embeds: Any
    prompts: int
    images_per_prompt: int
    regions: Regions | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is told."""
        return self.identity_embeds is None and self.expression_embeds is None

    @property
    def rows(self) -> int:
        """Number of pictures made."""
        return self.prompts * self.images_per_prompt

    def batch(self, embeds: Any, dims: int, what: str, adapter: EmojiAdapter) -> Tensor:
        """One row a person; `dims` is the number of axes without those of prompts and people."""
        embeds = torch.as_tensor(embeds)
        embeds = embeds[None] if embeds.ndim == dims else embeds
        rows = rows_of(embeds, self.prompts, self.images_per_prompt, what)
        rows = rows if self.regions is None else rows.flatten(0, 1)
        return rows.to(adapter.device, adapter.dtype)


@torch.no_grad()
def keys_and_values(
    adapter: EmojiAdapter, scales: Mapping[str, LayerScale], given: Conditions
) -> dict[str, LayerKV]:
    """Keys and values of all layers.

    A branch whose negative rows see embeddings of zeros has twice the rows, [negative; positive]; without
    guidance the processors take the last ones.

    Args:
        adapter: on the device and in the number format of the U-Net.
        scales: strength of each branch.
        given: embeddings, and how many pictures are made of them.

    Raises:
        InputError: lengths that do not agree.
        AdapterMismatchError: inputs that the adapter does not understand.
    """
    identity = expression = None
    if given.identity_embeds is not None:
        identity = _identity_tokens(adapter, given)
    elif given.identity_features is not None:
        raise InputError("identity_features stand beside identity_embeds: give both, or identity_image.")
    if given.expression_embeds is not None:
        expression = _expression_tokens(adapter, given)
    kv = adapter(identity, expression, scales["identity"], scales["expression"])
    if given.regions is None:
        return kv
    return given.regions.by_person(kv, given.prompts, given.images_per_prompt)


def identity_acts(scale: LayerScale) -> bool:
    """Whether a scale is other than 0 anywhere."""
    return any(scale.values()) if isinstance(scale, Mapping) else bool(scale)


def is_code(config: Mapping[str, Any], expression_embeds: Any) -> bool:
    """Whether embeddings of an expression are a code, such as blendshapes, and not patch features."""
    code = config["expression_dim"] is None
    return code or torch.as_tensor(expression_embeds).shape[-1] == config["blendshapes"]


def _identity_tokens(adapter: EmojiAdapter, given: Conditions) -> Tensor:
    embeds = given.batch(given.identity_embeds, 1, "identity_embeds", adapter)
    features = negative = None
    if given.identity_features is not None:
        both = given.batch(given.identity_features, 3, "identity_features", adapter)
        if both.shape[1] != 2:
            raise InputError(
                "identity_features must be [2, patches, dim] or [prompts, 2, patches, dim]: of an empty "
                "picture and of the face, as encode_identity_features makes them; got "
                f"{list(both.shape[1:])}."
            )
        negative, features = both.unbind(1)
    if adapter.config["identity_negative"] == "zeros":
        embeds = torch.cat([torch.zeros_like(embeds), embeds])
        features = None if features is None or negative is None else torch.cat([negative, features])
    return adapter.identity_tokens_of(embeds, features)


def _expression_tokens(adapter: EmojiAdapter, given: Conditions) -> Tensor:
    code = is_code(adapter.config, given.expression_embeds)
    embeds = given.batch(given.expression_embeds, 1 if code else 2, "expression_embeds", adapter)
    if adapter.config["expression_negative"] == "zeros":
        embeds = torch.cat([torch.zeros_like(embeds), embeds])
    return adapter.blendshape_tokens_of(embeds) if code else adapter.expression_tokens_of(embeds)
