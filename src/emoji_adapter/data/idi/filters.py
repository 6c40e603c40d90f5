"""Which attempts become triplets: pure functions of measured numbers, each with a name to refuse by."""

from collections.abc import Callable
from dataclasses import dataclass

from emoji_adapter.data.idi.config import Thresholds
from emoji_adapter.data.triplets import Measured


@dataclass(frozen=True)
class Filter:
    """One condition.

    Attributes:
        name: what a refused attempt's record says.
        passes: whether the numbers satisfy it; asked only of attempts that passed the filters before it.
        reason: why not, for a person to read.
    """

    name: str
    passes: Callable[[Measured, Thresholds], bool]
    reason: Callable[[Measured, Thresholds], str]


def _at_least(value: float | None, bound: float) -> bool:
    return value is not None and value >= bound


def _at_most(value: float | None, bound: float | None) -> bool:
    return bound is None or (value is not None and value <= bound)


FILTERS = (
    Filter("source", lambda m, t: m.unusable is None, lambda m, t: f"source cannot be used: {m.unusable}"),
    Filter("faces", lambda m, t: m.faces == 1, lambda m, t: f"{m.faces} faces found, one is needed"),
    Filter(
        "identity",
        lambda m, t: _at_least(m.identity, t.identity),
        lambda m, t: f"not the wanted person: ID {_number(m.identity)} < {t.identity:.2f}",
    ),
    Filter(
        "leak",
        lambda m, t: _at_most(m.leak, t.leak),
        lambda m, t: f"like the template's person: ID {_number(m.leak)} > {t.leak:.2f}",
    ),
    Filter(
        "expression",
        lambda m, t: _at_most(m.expression, t.expression),
        lambda m, t: f"another expression: distance {_number(m.expression, 3)} > {t.expression:.3f}",
    ),
    Filter(
        "cycle",
        lambda m, t: _at_most(m.cycle, t.cycle),
        lambda m, t: f"does not swap back: distance {_number(m.cycle, 3)} > {_number(t.cycle, 3)}",
    ),
)
"""In the order they are asked. A number that could not be read passes no filter that looks at it."""


def refused_by(measured: Measured, thresholds: Thresholds) -> Filter | None:
    """The first filter that refuses; None if all let it pass."""
    return next((item for item in FILTERS if not item.passes(measured, thresholds)), None)


def reason_of(name: str, measured: Measured, thresholds: Thresholds) -> str:
    """Why a filter refused, for a person to read."""
    return next(item for item in FILTERS if item.name == name).reason(measured, thresholds)


def _number(value: float | None, digits: int = 2) -> str:
    return "unread" if value is None else f"{value:.{digits}f}"
