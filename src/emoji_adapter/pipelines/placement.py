"""On which device our own networks work, and where they rest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from emoji_adapter.errors import InputError
from emoji_adapter.pipelines.arguments import by_name

COMPONENT = "emoji_adapter"


@contextmanager
def at_work(module: Any, device: torch.device, *, leave: bool) -> Iterator[None]:
    """Puts a network on a device for a while.

    Args:
        module: has `device` and `to`.
        device: where it works.
        leave: whether it goes back to where it was, e.g. from an accelerator to the CPU.
    """
    home = module.device
    if home != device:
        _put(module, device)
    try:
        yield
    finally:
        if leave and home != device:
            _put(module, home)


class OffloadMixin:
    """The three ways of offloading of a diffusers pipeline, with the adapter among what is offloaded.

    The hooks of accelerate and diffusers fetch the weights of a module when its own `forward` runs; the
    adapter multiplies the weights of all its layers at once, outside theirs. So it gets no hooks: it rests on
    the CPU, and is on the accelerator only while it works, at the beginning of a call.
    """

    _adapter_rests: bool = False
    _device_of_call: torch.device | None = None

    @property
    def _execution_device(self) -> torch.device:
        """As in the stock pipeline, unless a call has asked already."""
        kept = self._device_of_call
        return super()._execution_device if kept is None else kept  # type: ignore[misc]

    @contextmanager
    def _on_device(self, device: torch.device) -> Iterator[None]:
        """Keeps `_execution_device` for a call: diffusers looks through all modules whenever it is asked."""
        self._device_of_call = device
        try:
            yield
        finally:
            self._device_of_call = None

    def enable_model_cpu_offload(self, *args: Any, **kwargs: Any) -> None:
        """As in the stock pipeline."""
        self._offload(super().enable_model_cpu_offload, *args, **kwargs)  # type: ignore[misc]

    def enable_sequential_cpu_offload(self, *args: Any, **kwargs: Any) -> None:
        """As in the stock pipeline; the adapter is moved as a whole."""
        self._offload(super().enable_sequential_cpu_offload, *args, **kwargs)  # type: ignore[misc]

    def enable_group_offload(self, *args: Any, **kwargs: Any) -> None:
        """As in the stock pipeline; the adapter is moved as a whole.

        Raises:
            InputError: the adapter has a LoRA, and the weights of the U-Net would go to disk.
        """
        stock = super().enable_group_offload  # type: ignore[misc]
        adapter = getattr(self, COMPONENT)
        folder = by_name(stock, [], args, kwargs).get("offload_to_disk_path")
        if folder is not None and adapter is not None and adapter.identity_lora is not None:
            raise InputError(
                f"offload_to_disk_path={folder!r} cannot be used with an adapter that has a LoRA: it may be "
                "taken for another's there. Leave it out, or load an adapter without LoRA."
            )
        self._offload(stock, *args, **kwargs)

    def _offload(self, enable: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Lets the stock method put its hooks everywhere else; the configuration of the pipeline stays."""
        adapter = getattr(self, COMPONENT)
        object.__setattr__(self, COMPONENT, None)
        try:
            enable(*args, **kwargs)
        finally:
            object.__setattr__(self, COMPONENT, adapter)
        self._adapter_rests = True
        if adapter is not None:
            _put(adapter, torch.device("cpu"))


def _put(module: Any, device: torch.device) -> None:
    if isinstance(module, torch.nn.Module):
        torch.nn.Module.to(module, device)  # that of diffusers warns of number formats
    else:
        module.to(device)
