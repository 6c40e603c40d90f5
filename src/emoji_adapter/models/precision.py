"""bfloat16 where a device multiplies it faster than float32: in training, on accelerators and some CPUs."""

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def multiplies_half_faster(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32 (a CPU: with AVX-512 BF16)."""
    return device.type != "cpu" or torch.cpu._is_avx512_bf16_supported()


@contextlib.contextmanager
def half_autocast(device: torch.device, *, enabled: bool) -> Iterator[None]:
    """Autocast to bfloat16; on a CPU without fused attention, whose backward is slow in bfloat16.

    Args:
        device: where to compute.
        enabled: False changes nothing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=enabled))
        if enabled and device.type == "cpu":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield
