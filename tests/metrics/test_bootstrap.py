import numpy as np
import pytest

from emoji_adapter.metrics.bootstrap import ClusterBootstrap, Estimate, combine


def crossed(people: int, expressions: int) -> tuple[np.ndarray, np.ndarray]:
    person, expression = np.indices((people, expressions))
    return person.ravel(), expression.ravel()


def test_means_are_exact_and_subsets_and_missing_cells_are_left_out() -> None:
    bootstrap = ClusterBootstrap(*crossed(3, 2), draws=10)
    values = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 6.0])
    assert bootstrap.mean(values).value == 16 / 5
    assert bootstrap.mean(values, np.array([True, True, False, False, True, False])).value == 1.5
    assert bootstrap.ratio(np.array([1.0, 2, 3, 0, 0, 0]), np.array([2.0, 2, 2, 2, 2, 2])).value == 0.5


def test_nothing_to_measure_gives_nan_without_warnings() -> None:
    estimate = ClusterBootstrap(*crossed(2, 2), draws=10).mean(np.full(4, np.nan))
    assert np.isnan(estimate.value)
    assert np.isnan(estimate.ci95).all()


def test_weights_are_products_of_cluster_counts() -> None:
    """A figure that is 1 for one person's cells has draws that are that person's share of the draw."""
    person, expression = crossed(4, 3)
    draws = ClusterBootstrap(person, expression, draws=200).mean((person == 0).astype(float)).draws
    assert set(np.round(draws * 4, 9)) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert draws.mean() == pytest.approx(0.25, abs=0.05)


def test_rows_are_paired() -> None:
    rng = np.random.default_rng(0)
    person, expression = crossed(6, 5)
    first = rng.normal(size=30)
    bootstrap = ClusterBootstrap(person, expression, draws=300)
    difference = combine(lambda a, b: b - a, bootstrap.mean(first), bootstrap.mean(first + 0.5))
    assert difference.value == pytest.approx(0.5)
    assert difference.ci95 == pytest.approx((0.5, 0.5))


def test_interval_covers_the_truth_where_that_of_single_cells_does_not() -> None:
    """Cells share people and expressions: 95 % intervals must be wide enough for both."""
    rng = np.random.default_rng(1)
    person, expression = crossed(12, 10)
    bootstrap = ClusterBootstrap(person, expression, draws=400)
    naive = covered = 0
    for _ in range(150):
        cells = rng.normal(size=12)[person] + rng.normal(size=10)[expression] + rng.normal(size=120)
        low, high = bootstrap.mean(cells).ci95
        covered += low <= 0 <= high
        naive += abs(cells.mean()) <= 1.96 * cells.std() / np.sqrt(120)
    assert covered / 150 >= 0.86
    assert naive / 150 <= 0.65


def test_interval_are_percentiles() -> None:
    assert Estimate(0.0, np.arange(1001.0)).ci95 == (25.0, 975.0)


def test_equal_seeds_give_equal_draws() -> None:
    values = np.arange(6.0)
    one, two = (ClusterBootstrap(*crossed(3, 2), draws=20).mean(values).draws for _ in range(2))
    assert np.array_equal(one, two)
