"""The teacher's border: what the network is given and gives, for a network whose answer is known."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from emoji_adapter.config import WEIGHTS_VARIABLE
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.errors import InputError, WeightsFormatError, WeightsNotFoundError


def save_network(path, outputs=52, channels=3):
    """A network that repeats the mean of R, G and B times (1, 2, 1) over its outputs."""
    weight = np.zeros((channels, outputs), np.float32)
    weight[np.arange(outputs) % 3, np.arange(outputs)] = np.array([1.0, 2.0, 1.0])[np.arange(outputs) % 3]
    nodes = [
        helper.make_node("GlobalAveragePool", ["crop"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("MatMul", ["colour", "weight"], ["blendshapes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["batch", channels, 16, 16])],
        [helper.make_tensor_value_info("blendshapes", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


@pytest.fixture
def teacher(tmp_path):
    return BlendshapeTeacher(save_network(tmp_path / "teacher.onnx"), threads=1)


def test_pixels_go_in_as_rgb_from_0_to_1_and_answers_are_clipped(teacher):
    crop = np.zeros((1, 16, 16, 3), np.uint8)
    crop[...] = (51, 204, 102)
    (answer,) = teacher.estimate(crop)
    assert answer.dtype == np.float32
    assert np.allclose(answer[:4], [0.2, 1.0, 0.4, 0.2], atol=1e-6)  # green: 2 x 0.8, clipped
    assert teacher.size == 16


def test_pictures_arrays_and_long_batches_agree(teacher):
    crops = np.random.default_rng(0).integers(0, 256, (150, 16, 16, 3), dtype=np.uint8)
    answers = teacher.estimate(crops)
    assert answers.shape == (150, 52)
    assert np.array_equal(teacher.estimate([Image.fromarray(crop) for crop in crops]), answers)
    assert np.allclose(teacher.estimate(crops[149:])[0], answers[149], atol=1e-6)
    assert teacher.estimate([]).shape == (0, 52)


def test_crops_of_another_size_are_resized(teacher):
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert np.allclose(teacher.estimate(crops)[:, 0], crops[..., 0].mean((1, 2)) / 255, atol=2e-3)


@pytest.mark.parametrize("crops", [np.zeros((1, 16, 16, 3), np.float32), np.zeros((16, 16, 3), np.uint8)])
def test_other_arrays_are_refused(teacher, crops):
    with pytest.raises(InputError, match="must be uint8 RGB"):
        teacher.estimate(crops)


def test_missing_damaged_and_other_networks_are_refused_in_words(tmp_path, monkeypatch):
    with pytest.raises(WeightsNotFoundError, match="no blendshape teacher"):
        BlendshapeTeacher(tmp_path / "nowhere.onnx")
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(WeightsFormatError, match="cannot be loaded as an ONNX network"):
        BlendshapeTeacher(tmp_path / "garbage.onnx")
    for name, shape in (("outputs", {"outputs": 33}), ("channels", {"channels": 4})):
        with pytest.raises(WeightsFormatError, match="is no blendshape teacher"):
            BlendshapeTeacher(save_network(tmp_path / f"{name}.onnx", **shape))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsNotFoundError, match=r"no 'teacher/blendshapes\.onnx'"):
        BlendshapeTeacher()
    save_network(tmp_path / "micro" / "teacher" / "blendshapes.onnx")
    assert BlendshapeTeacher().size == 16
