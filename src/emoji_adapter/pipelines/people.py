"""Several people in one picture: who they are, what their faces do, and where each of them is."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.errors import InputError
from emoji_adapter.faces.analysis import FacePolicy
from emoji_adapter.pipelines.conditions import Conditions, is_code
from emoji_adapter.pipelines.gathering import expression_embeds_of, identity_embeds_of, identity_features_of
from emoji_adapter.pipelines.regions import Regions, stacked_masks

GIVEN = ("identity_embeds", "identity_features", "expression_embeds")


@dataclass(frozen=True, eq=False)
class Person:
    """One of several people in a picture. Identity or expression may be left out.

    Args:
        mask: where: a picture (white: here), or an array or tensor `[H, W]` in [0, 1] or of 8 bits, in the
            proportions of the picture that is drawn. Between 0 and 1 the person acts in part; where masks of
            several people overlap, all of them act.
        identity_image: who: a picture, or several of that person.
        expression: what the face does: a picture.
        identity_embeds: instead of `identity_image`: `[512]`, or `[1024]` of two recognisers.
        identity_features: beside `identity_embeds`, for adapters that read them: `[2, patches, dim]`.
        expression_embeds: instead of `expression`: `[patches, dim]`, or a code `[52]`.

    Raises:
        InputError: nothing but a mask, or a thing given in two ways.
    """

    mask: Any
    identity_image: Any = None
    expression: Any = None
    identity_embeds: Any = None
    identity_features: Any = None
    expression_embeds: Any = None

    def __post_init__(self) -> None:
        for one, other in (("identity_image", "identity_embeds"), ("expression", "expression_embeds")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise InputError(f"Give a Person either {one} or {other}, not both.")
        if all(getattr(self, field.name) is None for field in fields(self) if field.name != "mask"):
            raise InputError(
                "A Person needs an identity or an expression beside the mask (identity_image, "
                "identity_embeds, expression or expression_embeds)."
            )


def gather_people(
    pipe: Any, people: Any, prompts: int, images_per_prompt: int, face_policy: FacePolicy
) -> Conditions:
    """What a call with `people` is told of faces.

    Args:
        pipe: one of our pipelines, for its encoders.
        people: a list of `Person` for all prompts, or one list, equally long, for each prompt.
        prompts: number of prompts.
        images_per_prompt: pictures made of each.
        face_policy: see `FacePolicy`.

    Raises:
        InputError: lists that do not agree, or masks that cannot be used.
        FaceError: see `FacePolicy`.
    """
    groups = _groups(people, prompts)
    encoded = [[_encoded(pipe, person, face_policy) for person in group] for group in groups]
    tensors, acts = {}, {}
    for name in GIVEN:
        tensors[name], acts[name] = _stacked([[one[name] for one in group] for group in encoded], name)
    features = tensors["identity_features"]
    if features is not None and not torch.equal(acts["identity_features"], acts["identity_embeds"]):
        raise InputError("Every Person with identity_embeds needs identity_features, and no other.")
    regions = Regions(
        stacked_masks([[person.mask for person in group] for group in groups]),
        acts["identity_embeds"],
        acts["expression_embeds"],
    )
    return Conditions(**tensors, prompts=prompts, images_per_prompt=images_per_prompt, regions=regions)


def _groups(people: Any, prompts: int) -> list[list[Person]]:
    """The people of each prompt; one group serves all prompts."""
    wanted = "Give a list of Person, or one such list, equally long, for each prompt."
    if not isinstance(people, Sequence) or not people:
        raise InputError(f"people must be a list that is not empty, got {people!r:.80}. {wanted}")
    nested = [isinstance(entry, Sequence) for entry in people]
    groups = [list(group) for group in people] if all(nested) else [list(people)]
    for person in (person for group in groups for person in group):
        if not isinstance(person, Person):
            raise InputError(f"people holds {type(person).__name__}; expected Person. {wanted}")
    lengths = sorted({len(group) for group in groups})
    if len(groups) not in (1, prompts) or len(lengths) != 1 or lengths == [0]:
        raise InputError(
            f"people has {len(groups)} lists with {' or '.join(map(str, lengths))} entries for {prompts} "
            f"prompt{'s' if prompts != 1 else ''}. {wanted}"
        )
    return groups


def _encoded(pipe: Any, person: Person, face_policy: FacePolicy) -> dict[str, Tensor | None]:
    """What `GIVEN` names, of one person, without an axis of prompts."""
    given: dict[str, Any] = {name: getattr(person, name) for name in GIVEN}
    if person.identity_image is not None:
        given["identity_embeds"] = identity_embeds_of(pipe, person.identity_image, 1, face_policy)
        if given["identity_features"] is None:
            given["identity_features"] = identity_features_of(pipe, person.identity_image, 1, face_policy)
    if person.expression is not None:
        given["expression_embeds"] = expression_embeds_of(pipe, person.expression, 1, face_policy)
    expression = given["expression_embeds"]
    code = expression is None or is_code(pipe.emoji_adapter.config, expression)
    dims = {"identity_embeds": 1, "identity_features": 3, "expression_embeds": 1 if code else 2}
    return {name: _of_one(given[name], dims[name], name) for name in GIVEN}


def _of_one(value: Any, dims: int, name: str) -> Tensor | None:
    """A tensor of `dims` axes; one more in front is taken off if it has length 1."""
    if value is None:
        return None
    value = torch.as_tensor(value)
    found = value[0] if value.ndim == dims + 1 and len(value) == 1 else value
    if found.ndim != dims:
        raise InputError(f"{name} of a Person must have {dims} axes, got the shape {list(value.shape)}.")
    return found


def _stacked(values: list[list[Tensor | None]], name: str) -> tuple[Tensor | None, Tensor]:
    """Values `[prompts, people, ...]`, and `[prompts, people]` with 1 where there is one.

    Where there is none, another person's stands in for the shape; `Regions` takes its effect away.
    """
    acts = torch.tensor([[float(value is not None) for value in group] for group in values])
    there = [value for group in values for value in group if value is not None]
    if not there:
        return None, acts
    shapes = {tuple(value.shape) for value in there}
    if len(shapes) != 1:
        raise InputError(
            f"{name} of the people have different shapes: {sorted(shapes)}. Give all of them in the same "
            "way: all pictures, or all codes."
        )
    filled = [[there[0] if value is None else value for value in group] for group in values]
    return torch.stack([torch.stack([value.to(there[0]) for value in group]) for group in filled]), acts
