"""The cut is where faces are counted best."""

from types import SimpleNamespace

import pytest

from emoji_adapter.microworld.networks import detector_cut
from emoji_adapter.microworld.splits import pictures


@pytest.mark.parametrize(
    ("true", "false", "wanted"), [(0.9, 0.6, 0.625), (0.7, 0.55, 0.575), (0.6, 0.1, 0.5)]
)
def test_the_cut_lies_between_true_and_false_hits(monkeypatch, true, false, wanted):
    """A detector that finds each face with one score, and something else in every picture with another."""

    counts = {}
    walk = detector_cut.pictures_by_count

    def noted(people, seed, empty):
        for count, picture, points in walk(people, seed, empty):
            counts.clear()
            counts[id(picture)] = count
            yield count, picture, points

    def detect(picture):
        scores = [true] * counts[id(picture)] + [false]
        return [SimpleNamespace(det_score=score) for score in scores]

    monkeypatch.setattr(detector_cut, "pictures_by_count", noted)
    monkeypatch.setattr(detector_cut, "detector", lambda pack: detect)
    assert detector_cut.best_cut("pack", pictures("train", 8, 0), empty=6) == pytest.approx(wanted)
