"""Where and in which number format a command works, and the rest of a checkpoint in one file."""

from typing import TYPE_CHECKING, Annotated

import typer

from emoji_adapter.errors import InputError

if TYPE_CHECKING:
    import torch

FORMATS = ("float32", "float16", "bfloat16")

DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")]
DtypeOption = Annotated[
    str, typer.Option("--dtype", help=f"Number format of the checkpoint in memory: {', '.join(FORMATS)}.")
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        help="With a single-file checkpoint: folder or Hub id of one of its kind in diffusers' layout.",
    ),
]


def resolve_device(name: str) -> str:
    """Turn a name into a device that this machine has.

    Args:
        name: `auto` for the accelerator if there is one, or a name that torch knows, such as `cpu` or
            `cuda:1`.

    Raises:
        InputError: torch does not know the name, or the machine has no such device.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"--device {name} cannot be used here ({str(error).splitlines()[0]}). Use auto, cpu, or a device "
            "that `emoji-adapter doctor` lists."
        ) from error
    return name


def resolve_dtype(name: str) -> "torch.dtype":
    """Turn `--dtype` into a number format.

    Raises:
        InputError: it is none of `FORMATS`.
    """
    if name not in FORMATS:
        raise InputError(f"--dtype must be {' or '.join(FORMATS)}, got {name!r}.")
    import torch

    return getattr(torch, name)
