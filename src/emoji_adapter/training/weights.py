"""The trained weights of a run: which they are, their moving average, and how fast they move."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emoji_adapter.errors import InputError
from emoji_adapter.models.adapter import EmojiAdapter, is_adapter_parameter
from emoji_adapter.training.config import TrainingConfig


def freeze_all_but(
    adapter: EmojiAdapter, branch: str | None, modules: Sequence[str] = ()
) -> dict[str, nn.Parameter]:
    """Let one branch of the adapter train and freeze the other.

    Args:
        adapter: changed in place.
        branch: "identity", "expression", or None for both.
        modules: of the branch, the only ones that train; none: all.

    Returns:
        Name to parameter of all that train.

    Raises:
        InputError: the adapter has no such module in what the stage trains.
    """
    parameters = dict(adapter.named_parameters())
    of_branch = {name: name.split(".", 1)[0] for name in parameters if is_adapter_parameter(name, branch)}
    if unknown := [module for module in modules if module not in of_branch.values()]:
        raise InputError(
            f"trains names {unknown[0]!r}, which is no module that this stage trains of this adapter. "
            f"Known: {', '.join(dict.fromkeys(of_branch.values()))}."
        )
    trained = {name: parameters[name] for name, part in of_branch.items() if not modules or part in modules}
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    return trained


def learning_rate(step: int, steps: int, config: TrainingConfig) -> float:
    """Rate of step number `step` (from 0): linear warm-up, then a cosine to the final share at `steps`."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = min((step - config.warmup) / max(steps - config.warmup, 1), 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (config.final_learning_rate + (1 - config.final_learning_rate) * cosine)


class MovingAverage:
    """Exponential moving average of the trained weights only, kept beside them in float32.

    The decay rises as (1 + step) / (10 + step) to its final value, as in TensorFlow's and diffusers'
    averages.

    Args:
        parameters: name to parameter, the trained ones.
        decay: final decay.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float):
        self.parameters = parameters
        self.decay = decay
        self.average = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [parameter.detach() for parameter in self.parameters.values()]
        torch._foreach_lerp_(list(self.average.values()), current, 1 - decay)

    @torch.no_grad()
    def load(self, average: dict[str, Tensor]) -> None:
        """Take over a saved average."""
        for name, tensor in self.average.items():
            tensor.copy_(average[name])

    @torch.no_grad()
    def copy_to(self, adapter: EmojiAdapter) -> None:
        """Write the average into another adapter of the same shape, in that one's dtype."""
        targets = dict(adapter.named_parameters())
        for name, tensor in self.average.items():
            targets[name].copy_(tensor)
