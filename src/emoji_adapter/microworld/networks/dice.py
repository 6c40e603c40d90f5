"""Random numbers of one generator, made on its device."""

import torch
from torch import Tensor


class Dice:
    """Draws tensors; `shape` is given call by call.

    Args:
        generator: its device is where the numbers are made.
    """

    def __init__(self, generator: torch.Generator):
        self.generator, self.device = generator, generator.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform in [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Gaussian about zero."""
        return scale * torch.randn(shape, generator=self.generator, device=self.device)

    def chance(self, share: float, *shape: int) -> Tensor:
        """True in a share of the cases."""
        return self.uniform(*shape) < share

    def integer(self, below: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to below - 1."""
        return torch.randint(below, shape, generator=self.generator, device=self.device)

    def kind(self, weights: tuple[float, ...], *shape: int) -> Tensor:
        """Positions in `weights`, as often as these say."""
        total, value, below = sum(weights), self.uniform(*shape), 0.0
        out = torch.zeros(shape, dtype=torch.long, device=self.device)
        for weight in weights[:-1]:
            below += weight / total
            out += value >= below
        return out

    def spread(self, low: float, high: float, *shape: int) -> Tensor:
        """Between low and high, uniform in the logarithm."""
        return low * (high / low) ** self.uniform(*shape)
