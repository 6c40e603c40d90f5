"""Which device a command works on."""

from typing import Annotated

import typer

from emoji_adapter.errors import InputError

DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")]


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
