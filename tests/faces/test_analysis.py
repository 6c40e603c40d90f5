"""Finding faces with the embedded pack: choices, refusals in words, tight crops, damaged packs."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from emoji_adapter.errors import (
    FaceError,
    FaceTooSmallError,
    InputError,
    NoFaceError,
    SeveralFacesError,
    WeightsFormatError,
    WeightsNotFoundError,
)
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render


@pytest.fixture(scope="module")
def analyzer(face_pack):
    return FaceAnalyzer(threads=1)


@pytest.fixture(scope="module")
def drawn():
    """Four people twice in the plain style; picture i of both is one person, with another expression."""
    generator = torch.Generator().manual_seed(11)
    people, others = sample(4, generator), sample(4, generator)
    plain = torch.zeros(4, dtype=torch.long)
    people = people.replace(style=plain, accessory=plain)
    others = others.replace(style=plain, accessory=plain, identity=people.identity)
    return [render(parameters, size=128) for parameters in (people, others)]


def picture(rendered, i):
    array = (rendered.image[i].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    return Image.fromarray(array)


@pytest.fixture(scope="module")
def two_faces(drawn):
    """A large face on the right and a small one on the left."""
    canvas = Image.new("RGB", (240, 160), (127, 127, 127))
    canvas.paste(picture(drawn[0], 0).resize((80, 80)), (0, 40))
    canvas.paste(picture(drawn[0], 1).resize((160, 160)), (80, 0))
    return canvas


def test_a_face_is_found_where_it_was_drawn(analyzer, drawn):
    for i in range(4):
        (face,) = analyzer.detect(picture(drawn[0], i))
        assert face.embedding is None
        assert 0.5 <= face.score <= 1.0
        assert np.abs(face.landmarks - drawn[0].landmarks[i].numpy()).mean() < 6
        assert np.abs(face.box - drawn[0].box[i].numpy()).mean() < 12


def test_the_largest_face_comes_first_and_an_index_chooses(analyzer, two_faces):
    faces = analyzer.detect(two_faces)
    assert [round(face.box[0]) > 80 for face in faces] == [True, False]
    assert analyzer.face(two_faces).box[0] > 80
    assert np.array_equal(analyzer.face(two_faces, policy=0).box, faces[0].box)
    assert np.array_equal(analyzer.face(two_faces, policy=1).box, faces[1].box)
    with pytest.raises(
        FaceError, match=r"Face 2 of the picture \(240x160 pixels\) is asked for, but 2 were found"
    ):
        analyzer.face(two_faces, policy=2)


def test_several_faces_may_be_refused(analyzer, two_faces, drawn):
    with pytest.raises(SeveralFacesError, match=r"2 faces were found in identity_image \(240x160 pixels\)"):
        analyzer.face(two_faces, policy="raise", name="identity_image")
    assert analyzer.face(picture(drawn[0], 0), policy="raise").embedding is not None


@pytest.mark.parametrize("policy", ["smallest", -1, True])
def test_other_policies_are_refused(policy):
    with pytest.raises(InputError, match="'largest', 'raise' or an index from 0, got"):
        FaceAnalyzer().face(Image.new("RGB", (8, 8)), policy=policy)


def test_no_face_says_that_the_embedded_pack_knows_drawn_faces_only(analyzer):
    y, x = np.mgrid[:96, :128]
    scene = np.stack([x * 2, y * 2, 255 - x], -1).astype(np.uint8)
    with pytest.raises(NoFaceError, match=r"identity_image \(128x96 pixels\).*drawn faces only.*'buffalo_l'"):
        analyzer.face(scene, name="identity_image")
    assert analyzer.detect(scene) == []


def test_a_small_face_is_refused_with_its_size(analyzer, drawn):
    small = picture(drawn[0], 0).resize((44, 44), Image.Resampling.LANCZOS)
    with pytest.raises(FaceTooSmallError, match=r"measures \d+ pixels; at least 32 are needed"):
        analyzer.face(small)
    assert analyzer.face(small, min_size=10).size < 32


def test_a_tight_crop_is_found_inside_a_border_in_its_own_pixels(analyzer, drawn):
    whole = picture(drawn[0], 2)
    x, y, right, bottom = (int(v) for v in drawn[0].box[2])
    eyes_to_chin = (x + 6, y + 12, right - 6, bottom - 4)
    expected = drawn[0].landmarks[2].numpy() - [eyes_to_chin[0], eyes_to_chin[1]]
    face = analyzer.face(whole.crop(eyes_to_chin), min_size=10)
    assert np.abs(face.landmarks - expected).mean() < 9


def test_the_embedding_is_that_of_the_unmodified_package(analyzer, face_pack, drawn):
    import warnings

    from insightface.app import FaceAnalysis

    app = FaceAnalysis(name=str(face_pack), providers=["CPUExecutionProvider"])
    app.prepare(ctx_id=-1)
    rgb = np.asarray(picture(drawn[0], 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        (theirs,) = app.get(np.ascontiguousarray(rgb[..., ::-1]))
    ours = analyzer.face(rgb)
    assert ours.embedding.shape == (512,)
    assert ours.embedding.dtype == np.float32
    assert np.allclose(ours.box, theirs.bbox, atol=1e-3)
    assert np.allclose(ours.embedding, theirs.embedding, atol=1e-4 * np.abs(theirs.embedding).max())


def test_a_person_is_nearer_to_himself_than_to_others(analyzer, drawn):
    first, second = (
        np.stack([analyzer.face(picture(rendered, i)).embedding for i in range(4)]) for rendered in drawn
    )
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    similarity = first @ second.T
    assert (similarity.argmax(1) == np.arange(4)).all()


def test_nothing_is_printed(face_pack, drawn, capfd):
    FaceAnalyzer(threads=1).face(picture(drawn[0], 0))
    assert capfd.readouterr() == ("", "")


def test_a_pack_is_known_by_its_name_also_when_its_folder_is_given(face_pack):
    assert FaceAnalyzer().pack_id == "micro"
    assert FaceAnalyzer(face_pack).pack_id == "micro"
    assert FaceAnalyzer("buffalo_l").pack_id == "buffalo_l"


def test_a_missing_pack_is_refused_in_words_at_the_first_use(tmp_path, drawn):
    for pack in (tmp_path / "nowhere", tmp_path):
        analyzer = FaceAnalyzer(pack)
        with pytest.raises(WeightsNotFoundError, match=r"no face pack .*Expected 'micro', 'buffalo_l'"):
            analyzer.detect(picture(drawn[0], 0))


def test_damaged_and_incomplete_packs_are_refused_in_words(face_pack, tmp_path, drawn):
    image = picture(drawn[0], 0)
    garbage, half, recogniser = (tmp_path / name for name in ("garbage", "half", "recogniser"))
    for folder in (garbage, half, recogniser):
        folder.mkdir()
    (garbage / "det.onnx").write_bytes(b"no network")
    shutil.copy(face_pack / "det.onnx", half)
    onnx.save(_recogniser(), recogniser / "rec.onnx")
    with pytest.raises(WeightsFormatError, match="garbage' cannot be loaded"):
        FaceAnalyzer(garbage).detect(image)
    with pytest.raises(WeightsFormatError, match="half' holds no recogniser"):
        FaceAnalyzer(half).detect(image)
    with pytest.raises(WeightsFormatError, match="recogniser' holds no detector"):
        FaceAnalyzer(recogniser).detect(image)


def _recogniser():
    """The smallest network that insightface takes for a recogniser: 112 pixels to the mean of the colours."""
    node = helper.make_node("GlobalAveragePool", ["input"], ["mean"])
    flat = helper.make_node("Flatten", ["mean"], ["embedding"])
    graph = helper.make_graph(
        [node, flat],
        "recogniser",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(InputError, match="det_thresh"):
        FaceAnalyzer(det_thresh=threshold)
