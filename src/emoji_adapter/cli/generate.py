"""`emoji-adapter generate`: a face, an expression and a prompt become a portrait."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoji_adapter.cli.device import ConfigOption, DeviceOption, DtypeOption, resolve_device, resolve_dtype
from emoji_adapter.errors import InputError

if TYPE_CHECKING:
    import torch

    from emoji_adapter.pipelines.base import EmojiDiffPipeline


def command(
    prompt: Annotated[str, typer.Option(help="What to draw around the face: style, background, ...")],
    identity: Annotated[
        list[str] | None,
        typer.Option(help="Picture of the person; give it again for more pictures of the same one."),
    ] = None,
    expression: Annotated[
        str | None, typer.Option(help="Picture of a face, anybody's, that shows the expression.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Picture to write: .png, .jpg or .webp.")] = Path("portrait.png"),
    checkpoint: Annotated[
        str, typer.Option(help="micro, or a Stable Diffusion folder, .safetensors file or Hub id.")
    ] = "micro",
    config: ConfigOption = None,
    adapter: Annotated[str, typer.Option(help="micro, or an adapter's folder, file or Hub id.")] = "micro",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same portrait.")] = 0,
    count: Annotated[
        int, typer.Option(min=1, max=256, help="Portraits to make; several get _1, _2, ... names.")
    ] = 1,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps.")] = 25,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="Guidance scale; 1 is none. Default: 1.4 with the checkpoint micro, where it was chosen, "
            "else the stock pipeline's own (7.5, XL 5.0)."
        ),
    ] = None,
    identity_scale: Annotated[float, typer.Option(help="Strength of the identity; 0 is off.")] = 1.0,
    expression_scale: Annotated[float, typer.Option(help="Strength of the expression; 0 is off.")] = 1.0,
    face: Annotated[
        str, typer.Option(help="Which face of several: largest, raise, or its number from 0.")
    ] = "largest",
    negative_prompt: Annotated[str | None, typer.Option(help="What not to draw.")] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
) -> None:
    """Make a portrait of a person with an expression."""
    from emoji_adapter.cli.output import PICTURE_FORMATS, check_output, numbered, write_pictures

    scales = {"identity_scale": identity_scale, "expression_scale": expression_scale}
    check_numbers(**scales, **({} if guidance is None else {"guidance": guidance}))
    policy = face_policy(face)
    check_output(out, list(PICTURE_FORMATS))
    number_format = resolve_dtype(dtype)
    pictures = _load(identity, expression)
    pipe = load_pipeline(checkpoint, adapter, resolve_device(device), dtype=number_format, config=config)
    from emoji_adapter.pipelines.guidance import guidance_of

    pipe.set_emoji_adapter_scale(identity=identity_scale, expression=expression_scale)
    result = pipe(
        prompt,
        negative_prompt=negative_prompt,
        generator=generators(seed, count),
        num_images_per_prompt=count,
        num_inference_steps=steps,
        guidance_scale=guidance_of(pipe, checkpoint, guidance),
        face_policy=policy,
        **pictures,
    )
    files = numbered(out, count)
    write_pictures(result.images, files)
    typer.echo("\n".join(map(str, files)))


def face_policy(text: str) -> str | int:
    """Read `--face`.

    Raises:
        InputError: it is neither a policy nor a number.
    """
    if text in ("largest", "raise"):
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    raise InputError(f"--face must be largest, raise or a face's number counted from 0, got {text!r}.")


def generators(seed: int, count: int) -> Any:
    """One source of noise a portrait, on the CPU, so that every device starts from the same noise."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed + number) for number in range(count)]


def check_numbers(**values: float) -> None:
    """See that the values of flags are finite numbers.

    Raises:
        InputError: one is NaN or infinite; the flag is named.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise InputError(f"--{name.replace('_', '-')} must be a finite number, got {value}.")


def _load(identity: list[str] | None, expression: str | None) -> dict[str, Any]:
    """Read the input pictures before the models, so that a wrong name is told at once."""
    from emoji_adapter.faces.images import load_image

    if not identity and expression is None:
        raise InputError("Nothing to act on: give --identity, --expression or both.")
    pictures: dict[str, Any] = {}
    if identity:
        pictures["identity_image"] = [load_image(source) for source in identity]
    if expression is not None:
        pictures["expression"] = load_image(expression)
    return pictures


def load_pipeline(
    checkpoint: str,
    adapter: str,
    device: str,
    *,
    dtype: "torch.dtype | None" = None,
    config: str | None = None,
) -> "EmojiDiffPipeline":
    """Load a checkpoint and an adapter.

    Args:
        checkpoint: `micro`, a folder, a `.safetensors` file or a Hub id.
        adapter: `micro`, a folder, a file or a Hub id.
        device: where the models go.
        dtype: number format of the checkpoint's networks; None = float32.
        config: of a checkpoint in one file, see `open_pipeline`.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from emoji_adapter.pipelines.opening import open_pipeline

    if not sys.stderr.isatty():
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
    pipe = open_pipeline(checkpoint, config=config, **({} if dtype is None else {"dtype": dtype}))
    pipe.load_emoji_adapter(adapter)
    pipe.to(device)
    pipe.set_progress_bar_config(disable=not sys.stderr.isatty())
    return pipe
