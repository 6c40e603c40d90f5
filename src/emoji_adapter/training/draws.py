"""Random draws that depend on (seed, step, process) and on nothing that happened before.

Seed policy: every random number of optimiser step i is drawn from a generator that is seeded anew with a
hash of (seed, i, process, stream), on the device that uses it. A run killed at any moment and resumed from
the checkpoint of step i therefore sees the very draws it would have seen; on a CPU the weights come out
bit-identical. On a GPU the draws are the same but some kernels add in varying order, so weights agree to
rounding only.
"""

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from emoji_adapter.training.config import DropConfig

MASK = (1 << 64) - 1


@dataclass(frozen=True)
class StepDraw:
    """The randomness of one forward pass.

    Attributes:
        generator: on the training device, seeded by the numbers.
        numbers: (seed, step, process, pass).
    """

    generator: Generator
    numbers: tuple[int, ...]


def mixed_seed(*numbers: int) -> int:
    """Hash whole numbers to 63 bits (the finaliser of SplitMix64, Steele et al. 2014, over each in turn)."""
    state = 0
    for number in numbers:
        state = (state + (number & MASK) + 0x9E3779B97F4A7C15) & MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        state ^= state >> 31
    return state >> 1


def seeded(generator: Generator, *numbers: int) -> Generator:
    """Seed a generator by a hash of numbers and return it; never waits for the device."""
    return generator.manual_seed(mixed_seed(*numbers))


def share_of_rows(share: float, batch: int, *numbers: int) -> int:
    """How many of `batch` rows make up `share` on average: the floor, or by chance one more."""
    fraction = mixed_seed(*numbers) / (1 << 63)
    return int(share * batch + fraction)


def rows_from_anywhere(batch: int, device: torch.device, *numbers: int) -> Int[Tensor, " batch"]:
    """All rows in turn, from one that is drawn: never waits for the device.

    Rows are drawn at random, so for any part of them a run of them will do. It begins anywhere, and so meets
    templates and blendshapes alike.
    """
    begin = mixed_seed(*numbers) % batch
    return (torch.arange(batch, device=device) + begin) % batch


def draw_drops(
    batch: int, config: DropConfig, generator: Generator, device: torch.device
) -> tuple[Bool[Tensor, " B"], Bool[Tensor, " B"], Bool[Tensor, " B"]]:
    """Draw which rows lose the text, the identity, the expression.

    Returns:
        Three masks [B], True where the condition is dropped.
    """
    shares, table = _drop_table(config, device)
    drawn = torch.rand(batch, generator=generator, device=device)
    text, identity, expression = table[torch.searchsorted(shares, drawn, right=True)].unbind(1)
    return text, identity, expression


@functools.cache
def _drop_table(config: DropConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Upper ends of the cases in [0, 1] and what each drops; kept, for making them waits for the device."""
    cases = (
        (config.text, (True, False, False)),
        (config.identity, (False, True, False)),
        (config.expression, (False, False, True)),
        (config.text_and_identity, (True, True, False)),
        (config.text_and_expression, (True, False, True)),
        (config.everything, (True, True, True)),
    )
    shares = torch.tensor([share for share, _ in cases], device=device).cumsum(0)
    table = torch.tensor([dropped for _, dropped in cases] + [(False, False, False)], device=device)
    return shares, table
