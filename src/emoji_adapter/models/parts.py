"""The parts of the adapter: which weights belong to which branch, and their sizes in the micro-world."""

from typing import TypeVar

from torch import Tensor

from emoji_adapter.errors import AdapterMismatchError

Part = TypeVar("Part")

BRANCHES = {
    "identity": (
        "identity_projection",
        "second_identity_projection",
        "identity_lora",
        "to_k_identity",
        "to_v_identity",
    ),
    "expression": ("expression_resampler", "blendshape_projection", "to_k_expression", "to_v_expression"),
}
"""The modules of each branch."""

MICRO = {
    "identity_tokens": 8,
    "identity_width": 192,
    "expression_dim": 160,
    "expression_tokens": 16,
    "resampler_width": 128,
    "resampler_depth": 2,
    "resampler_heads": 4,
    "resampler_mult": 2,
    "blendshape_width": 64,
}
"""Sizes for the micro-world; the defaults of `EmojiAdapter` are those for SD1.5 and SDXL."""


def is_adapter_parameter(name: str, branch: str | None = None) -> bool:
    """Whether a parameter trains, is saved and is loaded: the one predicate for all three.

    Args:
        name: name in `EmojiAdapter.state_dict()`.
        branch: "identity", "expression", or None for both; or the name of one module of theirs.
    """
    branches = BRANCHES if branch is None else {branch: BRANCHES.get(branch, (branch,))}
    return any(name.split(".", 1)[0] in modules for modules in branches.values())


def require_part(part: Part | None, what: str) -> Part:
    """The part, which an adapter may lack.

    Raises:
        AdapterMismatchError: it does.
    """
    if part is None:
        raise AdapterMismatchError(
            f"This adapter has no part for {what}, as adapters made from IP-Adapter files may have none. "
            "Leave that input out, or load an adapter that has it."
        )
    return part


def require_shape(tensor: Tensor, what: str, shape: tuple[int | None, ...]) -> None:
    """See that a batch of inputs has the shape that an adapter was made for.

    Args:
        tensor: rows first.
        what: name in messages.
        shape: without the rows; None stands for any size.

    Raises:
        AdapterMismatchError: another shape.
    """
    wanted = ("batch", *("any" if n is None else n for n in shape))
    fits = tensor.ndim == len(wanted) and all(
        n in (None, m) for n, m in zip(shape, tensor.shape[1:], strict=True)
    )
    if not fits:
        raise AdapterMismatchError(
            f"This adapter takes {what} of shape [{', '.join(map(str, wanted))}], got {list(tensor.shape)}. "
            "Encode with the encoder that the adapter names."
        )
