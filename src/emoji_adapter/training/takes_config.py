"""Settings of the takes stage. No tensor library."""

from dataclasses import dataclass

from emoji_adapter.errors import InputError


@dataclass(frozen=True)
class TakesConfig:
    """What is held against what. All values are our choice."""

    share: float = 0.5
    """Share of the rows that are held against each other; the others train L_diff."""
    weight: float = 1.0
    """Weight of the squared error of a pair's difference, whatever the share is."""
    low: float = 0.45
    """Share of the schedule from which timesteps are drawn. Below, noise does not hide what a face does, and
    the mean of two faces is none that the network ever meets."""
    high: float = 0.98
    """Share of the schedule up to which they are drawn."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"takes.share must lie in (0, 1], got {self.share}.")
        if self.weight < 0:
            raise InputError(f"takes.weight must be at least 0, got {self.weight}.")
        if not 0 < self.low < self.high <= 1:
            raise InputError(
                f"takes.low and takes.high must satisfy 0 < low < high <= 1, got {self.low}, {self.high}."
            )
