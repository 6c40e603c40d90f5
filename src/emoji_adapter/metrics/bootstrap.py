"""Confidence intervals for cells that share people and expressions: the two-way cluster bootstrap."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Figure = float | np.ndarray
"""One number, or one a bootstrap draw."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap draws.

    Attributes:
        value: the figure on the cells as they are.
        draws: the figure on each resampling, (draws,); the same resamplings for every figure of one
            bootstrap, so that differences and ratios of estimates are paired.
    """

    value: float
    draws: np.ndarray

    @property
    def ci95(self) -> tuple[float, float]:
        """Percentile interval, 2.5 to 97.5; NaN when there is nothing to resample."""
        draws = self.draws[np.isfinite(self.draws)]
        if not len(draws):
            return (float("nan"), float("nan"))
        low, high = np.percentile(draws, (2.5, 97.5))
        return (float(low), float(high))


def combine(function: Callable[..., Figure], *estimates: Estimate) -> Estimate:
    """Apply a formula to estimates of one bootstrap, draw by draw.

    Args:
        function: works on numbers and on arrays alike.
        estimates: its arguments.
    """
    return Estimate(
        float(function(*(e.value for e in estimates))), np.asarray(function(*(e.draws for e in estimates)))
    )


class ClusterBootstrap:
    """Resamples people and expressions, both with replacement, and with them all cells they meet in.

    A resampling is a weight a cell: how often its person was drawn times how often its expression was (the
    "pigeonhole" bootstrap, Owen 2007, section 4, https://arxiv.org/abs/0712.1111). Any mean is then one
    product of matrices.

    Args:
        identities: cluster of each cell by person, (n,).
        expressions: cluster of each cell by expression, (n,).
        draws: number of resamplings.
        seed: of the resamplings.
    """

    def __init__(self, identities: np.ndarray, expressions: np.ndarray, *, draws: int = 2000, seed: int = 0):
        rng = np.random.default_rng(seed)
        self._weights = _counts(identities, draws, rng) * _counts(expressions, draws, rng)

    def mean(self, values: np.ndarray, where: np.ndarray | None = None) -> Estimate:
        """Mean of a figure a cell.

        Args:
            values: (n,); NaN leaves a cell out.
            where: only these cells, boolean (n,).
        """
        return self.ratio(values, np.ones(len(values)), where)

    def ratio(
        self, numerators: np.ndarray, denominators: np.ndarray, where: np.ndarray | None = None
    ) -> Estimate:
        """Ratio of two sums over cells; arguments as in `mean`."""
        kept = np.isfinite(numerators) & np.isfinite(denominators)
        if where is not None:
            kept &= where
        top, bottom = (np.where(kept, x, 0.0).astype(np.float64) for x in (numerators, denominators))
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.divide(top.sum(), bottom.sum())
            draws = (self._weights @ top) / (self._weights @ bottom)
        return Estimate(float(value), draws)


def _counts(clusters: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each cell's cluster is drawn, (draws, n)."""
    names, place = np.unique(clusters, return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return counts[:, place].astype(np.float64)
