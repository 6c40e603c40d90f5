"""The guidance that a checkpoint is drawn with where nobody names one."""

import inspect
from typing import Any

from emoji_adapter.checkpoints.locate import MICRO
from emoji_adapter.config import GUIDANCE


def guidance_of(pipe: Any, checkpoint: str) -> float:
    """Classifier-free guidance where nobody names another.

    Args:
        pipe: made of the checkpoint.
        checkpoint: its name.

    Returns:
        `GUIDANCE` for "micro", with whose weights it was chosen; for all others the stock pipeline's own
        default (diffusers: 7.5 for Stable Diffusion 1 and 2, 5.0 for XL).
    """
    if checkpoint == MICRO:
        return GUIDANCE
    return inspect.signature(type(pipe).__call__).parameters["guidance_scale"].default
