"""Which family a checkpoint belongs to, and which tasks its U-Net can do."""

import importlib
from collections.abc import Mapping
from typing import Any

from emoji_adapter.errors import InputError

TASKS = ("text-to-image", "image-to-image", "inpaint", "controlnet")
"""What a pipeline draws from."""

MODULES = {
    "SD": "emoji_adapter.pipelines.stable_diffusion",
    "SDXL": "emoji_adapter.pipelines.stable_diffusion_xl",
}
"""Where the concrete pipelines of a family lie; importing it registers them."""

_PREFIXES = {
    "StableDiffusionXL": "SDXL",
    "StableDiffusion3": None,
    "StableDiffusionK": None,
    "StableDiffusion": "SD",
    "LatentConsistencyModel": "SD",
}
"""How class names of a family begin; the first that fits counts."""


def family_of(class_name: str) -> str | None:
    """The family "SD" (Stable Diffusion 1 and 2) or "SDXL" of a pipeline class, ours or stock.

    Args:
        class_name: as `model_index.json` names it.

    Returns:
        None for every other family.
    """
    stock = class_name.replace("EmojiDiffSD", "StableDiffusion")
    return next((family for prefix, family in _PREFIXES.items() if stock.startswith(prefix)), None)


def import_family(family: str | None) -> None:
    """Imports the concrete pipelines of a family; of all families for None."""
    for name, module in MODULES.items():
        if family in (name, None):
            importlib.import_module(module)


def check_channels(unet: Mapping[str, Any], task: str) -> None:
    """Refuses a U-Net that takes more than latents for a task that gives it nothing else.

    Args:
        unet: its configuration; `in_channels` and `out_channels` count.
        task: one of `TASKS`.

    Raises:
        InputError: an inpainting U-Net (9 channels) for another task, or one with other extra channels.
    """
    given, latents = unet["in_channels"], unet["out_channels"]
    inpainting = 2 * latents + 1
    if given == latents or (given == inpainting and task == "inpaint"):
        return
    if given == inpainting:
        raise InputError(
            f"The U-Net takes {given} channels: latents, a mask and a masked picture. It was made for "
            f"inpainting, not for {task!r}. Pass task='inpaint', or use a checkpoint with {latents} channels."
        )
    raise InputError(
        f"The U-Net takes {given} channels and gives {latents}; for the task {task!r} expected {latents}"
        f"{f' or {inpainting}' if task == 'inpaint' else ''}. Checkpoints for depth, upscaling or edits by "
        "instruction have no emoji pipeline; use an ordinary one."
    )
