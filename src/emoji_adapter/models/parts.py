"""The parts of the adapter: which weights belong to which branch, and their sizes in the micro-world."""

BRANCHES = {
    "identity": ("identity_projection", "to_k_identity", "to_v_identity"),
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
        branch: "identity", "expression", or None for both.
    """
    branches = BRANCHES if branch is None else {branch: BRANCHES[branch]}
    return any(name.split(".", 1)[0] in modules for modules in branches.values())
