"""The processes of a run."""

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, KwargsHandler


def make_accelerator(device: str | None = None) -> Accelerator:
    """Join the processes of a run.

    Without an accelerator those that `torchrun` started would each train alone, all the same steps, unless
    accelerate is told that the CPU is meant.

    Args:
        device: "cpu" to stay off an accelerator; None = what accelerate chooses.
    """
    handlers: list[KwargsHandler] = [
        DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    ]
    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    return Accelerator(mixed_precision="no", cpu=on_cpu, kwargs_handlers=handlers)
