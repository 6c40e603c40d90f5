"""`emoji-adapter convert`: IP-Adapter files become an adapter, or an adapter becomes IP-Adapter files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from emoji_adapter.errors import InputError

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def command(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    identity: Annotated[
        str | None,
        typer.Option(help="IP-Adapter-FaceID or FaceID-Plus file (.safetensors) for the identity branch."),
    ] = None,
    expression: Annotated[
        str | None,
        typer.Option(
            help="Expression adapter (.safetensors), such as Arc2Face's, for the expression branch."
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            help="The other way: micro, or an adapter's folder, file or Hub id, to IP-Adapter files."
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Checkpoint whose layers are meant; needed for others than SD1.5, SD2 and SDXL."),
    ] = None,
    shortcut: Annotated[
        bool | None, typer.Option(help="A FaceID-Plus file is PlusV2, or is not: the files do not tell.")
    ] = None,
    features_only: Annotated[
        bool,
        typer.Option(
            "--features-only",
            help="Export a compound expression without its teacher's code, which stock code cannot read.",
        ),
    ] = False,
    dtype: Annotated[
        str, typer.Option(help="Number format of the weights: keep, float32, float16 or bfloat16.")
    ] = "keep",
) -> None:
    """Turn IP-Adapter files into an adapter, or an adapter into files for load_ip_adapter."""
    from emoji_adapter.checkpoints.export import save_ip_adapters
    from emoji_adapter.checkpoints.format import save_adapter
    from emoji_adapter.checkpoints.opening import open_adapter

    sources = {name: file for name, file in (("identity", identity), ("expression", expression)) if file}
    if bool(sources) == (adapter is not None):
        raise InputError(
            "Give --identity, --expression or both to make an adapter, or --adapter to export one."
        )
    number_format, unet = _number_format(dtype), None if checkpoint is None else unet_of(checkpoint)
    if adapter is None:
        made = open_adapter(sources, unet=unet, dtype=None, shortcut=shortcut)
        save_adapter(made, out, number_format)
        typer.echo(f"{out}: {_described(made)}")
        return
    opened = open_adapter(adapter, unet=unet, dtype=number_format, shortcut=shortcut)
    written = save_ip_adapters(opened, out, unet=unet, features_only=features_only)
    typer.echo("\n".join(map(str, written)))


def unet_of(checkpoint: str) -> "UNet2DConditionModel":
    """The U-Net of a checkpoint without its weights, from its configuration alone.

    Args:
        checkpoint: micro, a folder in diffusers' layout, or a Hub id.

    Raises:
        InputError: there is no configuration of a U-Net.
    """
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from emoji_adapter.checkpoints.locate import locate

    try:
        config: Any = UNet2DConditionModel.load_config(locate(checkpoint, "checkpoint"), subfolder="unet")
    except OSError as error:
        raise InputError(
            f"--checkpoint {checkpoint} has no unet/config.json ({error}). Name a folder or Hub id in "
            "diffusers' layout."
        ) from error
    with torch.device("meta"):
        return cast("UNet2DConditionModel", UNet2DConditionModel.from_config(config))


def _number_format(name: str) -> Any:
    import torch

    formats = {"keep": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in formats:
        raise InputError(f"--dtype must be one of {', '.join(formats)}, got {name!r}.")
    return formats[name]


def _described(adapter: Any) -> str:
    from emoji_adapter.models.layers import describe_family

    config = adapter.config
    base = describe_family(config["base_family"], config["cross_attention_dim"])
    size = sum(p.numel() * p.element_size() for p in adapter.parameters()) / 1e6
    return f"{config['recipe']}; for {base}; {len(adapter.layers)} layers, {size:.0f} MB"
