"""Flags of how pictures are drawn, and the settings they make, for `accept`, `evaluate` and `probe`."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from emoji_adapter.metrics.protocol import Settings

StepsOption = Annotated[int, typer.Option("--steps", min=1, help="Denoising steps.")]
GuidanceOption = Annotated[
    float, typer.Option("--guidance", help="Guidance scale, the same whatever the checkpoint.")
]
BatchOption = Annotated[int | None, typer.Option("--batch", min=1, help="Pictures drawn at a time.")]


def drawing_settings(steps: int, guidance: float, batch: int | None, device: str) -> "Settings":
    """Turn the flags into settings.

    Args:
        steps: denoising steps.
        guidance: classifier-free guidance scale.
        batch: pictures drawn at a time; None = 256 of the micro-world's on a GPU, 32 elsewhere (our choice).
        device: where they are drawn.
    """
    from emoji_adapter.metrics.protocol import Settings

    return Settings(steps, guidance, batch or (256 if device.startswith("cuda") else 32))
