"""How many attempts each filter let pass, per round."""

from collections.abc import Iterable
from dataclasses import dataclass

from emoji_adapter.data.idi.filters import FILTERS
from emoji_adapter.data.triplets import TripletRecord


@dataclass(frozen=True)
class FilterRate:
    """Pass rate of one filter.

    Attributes:
        name: of the filter.
        reached: attempts that passed all filters before it.
        passed: those of them that it let pass.
        rate: passed / reached, 0 to 1; None where none reached it.
    """

    name: str
    reached: int
    passed: int
    rate: float | None


@dataclass(frozen=True)
class RoundRates:
    """What a round came to.

    Attributes:
        round: its number, from 1.
        shards: number of shards.
        attempts: triplets that were tried.
        kept: triplets that passed all filters.
        filters: in the order they are asked.
        means: mean of each measured number over the attempts in which it could be read.
    """

    round: int
    shards: int
    attempts: int
    kept: int
    filters: tuple[FilterRate, ...]
    means: dict[str, float]


def rates_of(round: int, shards: int, records: Iterable[TripletRecord]) -> RoundRates:
    """Count what the filters of a round did."""
    records = list(records)
    reached, filters = len(records), []
    for item in FILTERS:
        passed = reached - sum(record.refused == item.name for record in records)
        filters.append(FilterRate(item.name, reached, passed, passed / reached if reached else None))
        reached = passed
    means = {}
    for name in ("identity", "leak", "expression", "cycle"):
        read = [value for r in records if (value := getattr(r.measured, name)) is not None]
        if read:
            means[name] = sum(read) / len(read)
    return RoundRates(round, shards, len(records), reached, tuple(filters), means)
