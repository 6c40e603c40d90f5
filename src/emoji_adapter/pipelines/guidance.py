"""The guidance that a checkpoint is drawn with where nobody names one."""

import inspect
from typing import Any

from emoji_adapter.checkpoints.locate import MICRO
from emoji_adapter.config import GUIDANCE


def guidance_of(pipe: Any, checkpoint: str, named: float | None = None) -> float:
    """Classifier-free guidance: the one that is named, else the checkpoint's own.

    Args:
        pipe: made of the checkpoint.
        checkpoint: its name.
        named: what the user asked for; None: nothing.

    Returns:
        `named`; without it `GUIDANCE` for "micro", with whose weights it was chosen; for all others the stock
        pipeline's own default (diffusers: 7.5 for Stable Diffusion 1 and 2, 5.0 for XL).
    """
    if named is not None:
        return named
    if checkpoint == MICRO:
        return GUIDANCE
    return inspect.signature(type(pipe).__call__).parameters["guidance_scale"].default
