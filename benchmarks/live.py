"""Bytes that tensors hold while code runs: each storage from the operation that makes it until it is freed.

`Live` sees every operation that is dispatched, in the backward pass and inside checkpointed blocks, too. It
works on real tensors and on fake ones, which have shapes and no memory. What a kernel takes for itself is not
seen; `AsOnACard` adds what is known of CUDA's.
"""

import gc
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class Live(TorchDispatchMode):
    """Counts bytes of live storages.

    What waits for Python's cycle collector is not live: a highest counts after the collector has run.

    Attributes:
        now: bytes that are held, with what waits for the collector.
        highest: the most that were in use since `forget_highest`.

    Args:
        card: add what CUDA's kernels of convolution and attention hold beside their results.
        stride: bytes that a new highest must be above the one before, for the collector takes its time; or
            `STRIDE` of what has come on top, if that is more.
    """

    STRIDE = 0.005

    def __init__(self, *, card: bool = False, stride: int = 2_000_000):
        super().__init__()
        self.now = self.highest = self._from = 0
        self._card = card
        self._stride = stride
        self._held: dict[int, weakref.ref] = {}

    def __enter__(self) -> "Live":
        gc.collect()
        gc.freeze()  # what is there already need not be looked at again and again
        gc.disable()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        gc.enable()
        gc.unfreeze()

    def forget_highest(self) -> None:
        """Count the highest from here."""
        gc.collect()
        self.highest = self._from = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        self._rise(within(func, args, made) if self._card else 0)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._held:
            return

        def freed(_: Any) -> None:
            del self._held[key]
            self.now -= size

        self._held[key] = weakref.ref(storage, freed)
        self.now += size

    def _rise(self, more: int) -> None:
        """Note the highest, with so many bytes more for a moment."""
        if self.now + more > self.highest + max(self._stride, self.STRIDE * (self.highest - self._from)):
            gc.collect()
            self.highest = max(self.highest, self.now + more)


def within(func: Any, args: Any, made: Any) -> int:
    """Bytes that a kernel of CUDA holds beside its inputs and results.

    cuDNN works on channels last, so what comes otherwise is copied (by PyTorch or in cuDNN's own workspace),
    results too. FlashAttention 2 sums dQ in float32, padded to blocks of 128 positions, and keeps one number
    for each of them.
    """
    if func in (aten.convolution.default, aten.convolution_backward.default):
        return sum(_copy(tensor) for tensor in tree_leaves((args, made)) if isinstance(tensor, Tensor))
    if func is aten._scaled_dot_product_flash_attention_for_cpu_backward.default:
        batch, heads, positions, width = args[1].shape
        return 4 * batch * heads * (-positions % 128 + positions) * (width + 1)
    return 0


def _copy(tensor: Tensor) -> int:
    """Bytes of a copy in channels last, 0 where none is needed."""
    if tensor.ndim != 4 or tensor.is_contiguous(memory_format=torch.channels_last):
        return 0
    return tensor.nbytes


class AsOnACard(TorchFunctionMode):
    """Group norm as on CUDA, which takes contiguous tensors only: of others a copy is made and kept."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.group_norm, torch.nn.functional.group_norm):
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))
