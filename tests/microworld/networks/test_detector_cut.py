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

    def detect(picture):
        grey = (picture == 127).all(-1).mean() > 0.05  # pictures of two may lie on grey
        wide = picture.shape[0] != picture.shape[1] or grey
        empty = id(picture) in faceless
        faces = 0 if empty else 2 if wide else 1
        return [SimpleNamespace(det_score=score) for score in [true] * faces + [false]]

    faceless = set()
    kept = []

    def face_free(people, count, generator):
        for picture in original(people, count, generator):
            kept.append(picture)
            faceless.add(id(picture))
            yield picture

    original = detector_cut.face_free
    monkeypatch.setattr(detector_cut, "face_free", face_free)
    monkeypatch.setattr(detector_cut, "detector", lambda pack: detect)
    assert detector_cut.best_cut("pack", pictures("train", 8, 0), empty=6) == pytest.approx(wanted)
