"""From what a call is given of faces, pictures or embeddings, to embeddings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.faces.analysis import FacePolicy
from emoji_adapter.pipelines.arguments import require_one_of
from emoji_adapter.pipelines.conditions import Conditions
from emoji_adapter.pipelines.pairing import expressions_of, people_of


def gather(
    pipe: Any, faces: Mapping[str, Any], prompts: int, images_per_prompt: int, face_policy: FacePolicy
) -> Conditions:
    """What a call is told of faces, one face in a picture.

    Args:
        pipe: one of our pipelines, for its encoders.
        faces: `identity_image`, `identity_embeds`, `identity_features`, `expression`, `expression_embeds`.
        prompts: number of prompts.
        images_per_prompt: pictures made of each.
        face_policy: see `FacePolicy`.

    Raises:
        InputError: a thing in two ways, or lists of unequal length.
        FaceError: see `FacePolicy`.
    """
    image, expression = faces["identity_image"], faces["expression"]
    identity, features, expressions = (
        faces[name] for name in ("identity_embeds", "identity_features", "expression_embeds")
    )
    require_one_of(identity_image=image, identity_embeds=identity)
    require_one_of(expression=expression, expression_embeds=expressions)
    if image is not None:
        identity = identity_embeds_of(pipe, image, prompts, face_policy)
        features = identity_features_of(pipe, image, prompts, face_policy) if features is None else features
    if expression is not None:
        expressions = expression_embeds_of(pipe, expression, prompts, face_policy)
    return Conditions(identity, features, expressions, prompts, images_per_prompt)


def identity_embeds_of(pipe: Any, pictures: Any, prompts: int, face_policy: FacePolicy) -> Tensor:
    """Embeddings `[1 or prompts, 512]`, of two recognisers 1024, of people, by their pictures."""
    people = people_of(pictures, prompts)
    return torch.stack([pipe.encode_identity(person, face_policy) for person in people])


def identity_features_of(pipe: Any, pictures: Any, prompts: int, face_policy: FacePolicy) -> Tensor | None:
    """Features `[1 or prompts, 2, patches, dim]` of each person's first picture; None: not read."""
    if pipe.emoji_adapter is None or not pipe.emoji_adapter.config["identity_features_dim"]:
        return None
    people = people_of(pictures, prompts)
    return torch.stack([pipe.encode_identity_features(person[0], face_policy) for person in people])


def expression_embeds_of(pipe: Any, pictures: Any, prompts: int, face_policy: FacePolicy) -> Tensor:
    """Patch features `[1 or prompts, patches, dim]` of expression pictures."""
    return torch.stack([pipe.encode_expression(t, face_policy) for t in expressions_of(pictures, prompts)])
