"""What is read in a rendering, by the packaged networks on drawn faces."""

import dataclasses

import numpy as np
import pytest

from emoji_adapter.data.examine import Examined, ExamineSettings
from emoji_adapter.data.folder import list_pictures
from emoji_adapter.data.idi.inspect import Inspector, InspectSettings, Rendering, build_inspector
from emoji_adapter.data.workers import spread
from emoji_adapter.faces.crop import ExpressionCrop

SETTINGS = InspectSettings(
    ExamineSettings("micro", "micro", ExpressionCrop(), 64, 16, 128), swapper=None, cycle=False
)


@pytest.fixture(scope="module")
def inspector():
    return Inspector(SETTINGS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    from emoji_adapter.microworld.gallery import Gallery, write_gallery

    folder = tmp_path_factory.mktemp("gallery") / "pictures"
    write_gallery(Gallery(people=2, per_person=1, seed=11), folder)
    return list_pictures(folder)


@pytest.fixture(scope="module")
def rendering(inspector, sources):
    """A drawn person in the place of a rendering, wanted as she is, by the template of somebody else."""
    first, second = (inspector.look(source) for source in sources)
    assert isinstance(first, Examined)
    return Rendering(first.pixels, first.identity, second.identity, second.blendshapes)


def test_a_picture_measured_against_itself_and_somebody_else(inspector, rendering):
    found = inspector.look(rendering)
    assert np.array_equal(found.pixels, rendering.pixels)
    assert found.measured.faces == 1
    assert found.measured.identity == pytest.approx(1, abs=1e-3)
    others = float(rendering.identity @ rendering.template_identity)
    assert found.measured.leak == pytest.approx(others, abs=1e-3)
    assert 0.02 < found.measured.expression < 0.5
    assert found.measured.cycle is None
    (face,) = inspector.examiner.analyzer.detect(rendering.pixels)
    crop = np.asarray(ExpressionCrop().crop(rendering.pixels, face))
    own = inspector.examiner.teacher.estimate(crop[None])[0]
    same = inspector.look(dataclasses.replace(rendering, blendshapes=own))
    assert same.measured.expression == pytest.approx(0, abs=1e-6)


def test_none_and_several_faces_are_counted_and_not_swapped(inspector, rendering):
    blank = np.full_like(rendering.pixels, 90)
    two = np.concatenate([rendering.pixels, rendering.pixels], axis=1)
    for pixels, count in ((blank, 0), (two, 2)):
        found = inspector.look(dataclasses.replace(rendering, pixels=pixels))
        assert found.measured.faces == count
        assert found.measured.identity is None
        assert np.array_equal(found.pixels, pixels)


def test_swapping_changes_the_face_and_back_is_measured(rendering):
    inspector = Inspector(dataclasses.replace(SETTINGS, swapper="micro", cycle=True))
    found = inspector.look(dataclasses.replace(rendering, identity=rendering.template_identity))
    assert not np.array_equal(found.pixels, rendering.pixels)
    if found.measured.faces == 1:
        assert found.measured.identity == pytest.approx(found.measured.leak)
        assert found.measured.cycle is not None
        assert 0 < found.measured.cycle < 0.5


@pytest.mark.slow
def test_worker_processes_read_the_same(inspector, sources, rendering):
    jobs = [sources[0], rendering]
    with spread(build_inspector, SETTINGS, 1) as look:
        portrait, found = look(iter(jobs))
    assert np.array_equal(portrait.identity, inspector.look(sources[0]).identity)
    assert found.measured == inspector.look(rendering).measured
