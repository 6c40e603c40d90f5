"""Twins of ONNX networks: the numbers of onnxruntime, gradients, and operators that have no twin."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from emoji_adapter.config import packaged_part
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.encoders.onnx_twin import OnnxTwin
from emoji_adapter.encoders.twins import BlendshapeTwin, RecogniserTwin
from emoji_adapter.errors import WeightsFormatError, WeightsNotFoundError
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.batched import align_batch, crop_batch
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render

CROPS = 100


@pytest.fixture(scope="module")
def drawn():
    return render(sample(CROPS, torch.Generator().manual_seed(4)), 64)


def as_bytes(images):
    return (images.clamp(0, 1) * 255).round().byte()


@pytest.fixture(scope="module")
def recogniser(face_pack):
    analyzer = FaceAnalyzer(face_pack, threads=1)
    return analyzer, RecogniserTwin(analyzer)


def test_the_recognisers_cosine_is_that_of_insightface_on_a_hundred_crops(drawn, recogniser):
    analyzer, twin = recogniser
    crops = as_bytes(align_batch(drawn.image, drawn.landmarks, twin.size))
    bgr = list(crops.permute(0, 2, 3, 1).numpy()[..., ::-1])
    theirs = torch.from_numpy(analyzer.recogniser.get_feat(bgr))
    with torch.no_grad():
        ours = twin.embed(crops.float() / 255)
    theirs = nn.functional.normalize(theirs, dim=1)
    assert (1 - (ours * theirs).sum(1)).abs().max() < 1e-4
    assert (ours @ ours.T - theirs @ theirs.T).abs().max() < 1e-4


def test_a_picture_can_be_moved_towards_another_person(drawn, recogniser):
    _, twin = recogniser
    goal = twin(drawn.image[1:2], drawn.landmarks[1:2]).detach()
    picture = drawn.image[:1].clone().requires_grad_()
    before = twin(picture, drawn.landmarks[:1]) @ goal.T
    before.sum().backward()
    moved = picture + 0.02 * picture.grad.sign()
    assert (twin(moved, drawn.landmarks[:1]) @ goal.T) > before + 0.1


def test_the_teachers_blendshapes_are_those_of_onnxruntime(drawn):
    crops = as_bytes(crop_batch(drawn.image[:20], drawn.landmarks[:20], ExpressionCrop()))
    theirs = BlendshapeTeacher(threads=1).estimate(crops.permute(0, 2, 3, 1).numpy())
    with torch.no_grad():
        ours = BlendshapeTwin()(crops.float() / 255)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4)


class Many(nn.Module):
    """Operators that real packs use and the embedded ones do not; uneven sizes, so that axes matter."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=3, dilation=(1, 2))
        self.norm = nn.BatchNorm2d(6)
        self.slope = nn.PReLU(6)
        self.linear = nn.Linear(6, 4, bias=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.slope(self.norm(self.conv((x - 0.3) / 1.7)))
        x = nn.functional.max_pool2d(x, 3, 2, 1) + nn.functional.avg_pool2d(x, 3, 2, 1)
        pooled = nn.functional.adaptive_avg_pool2d(x.clamp(-1, 0.8), 1)
        tokens = self.linear(x.transpose(1, 3) * pooled.transpose(1, 3)).reshape(-1, 16)
        return self.head(tokens).sigmoid()


def exported(network, example, file):
    torch.onnx.export(
        network, (example,), str(file), dynamo=False, opset_version=17, input_names=["x"],
        output_names=["y"], training=torch.onnx.TrainingMode.PRESERVE,
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )  # fmt: skip
    return file


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_other_operators_give_the_numbers_of_onnxruntime(tmp_path):
    torch.manual_seed(0)
    network = Many().eval()
    for buffer in (network.norm.running_mean, network.norm.running_var, network.slope.weight.data):
        buffer.uniform_(0.2, 1.5)
    x = torch.randn(4, 3, 5, 5)
    file = exported(network, x, tmp_path / "many.onnx")
    operators = {node.op_type for node in onnx.load(str(file)).graph.node}
    assert operators >= {"BatchNormalization", "MaxPool", "AveragePool", "Transpose", "MatMul", "Clip"}
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(OnnxTwin(file)(x).detach().numpy(), theirs, atol=1e-5)


def one_node(file, operator, **attributes):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node(operator, ["x"], ["y"], name="the_node", **attributes)
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y])), str(file))
    return file


def test_an_operator_without_a_twin_is_named(tmp_path):
    with pytest.raises(WeightsFormatError, match=r"operator Erf \(node 'the_node'\)"):
        OnnxTwin(one_node(tmp_path / "a.onnx", "Erf"))


@pytest.mark.parametrize(
    ("operator", "attributes", "message"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "MaxPool .* has ceil_mode=1, expected 0"),
        ("MaxPool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, r"has pads=\[0, 0, 1, 1\]"),
        ("Flatten", {"axis": 2}, "Flatten .* has axis=2, expected 1"),
    ],
)
def test_a_setting_without_a_twin_is_named(tmp_path, operator, attributes, message):
    with pytest.raises(WeightsFormatError, match=message):
        OnnxTwin(one_node(tmp_path / "a.onnx", operator, **attributes))


def test_a_graph_that_does_not_run_is_refused_when_it_is_read(tmp_path):
    with pytest.raises(WeightsFormatError, match="cannot be run in torch"):
        OnnxTwin(one_node(tmp_path / "a.onnx", "Transpose", perm=[0, 1]))


def test_files_that_are_no_single_network_are_refused(tmp_path):
    with pytest.raises(WeightsNotFoundError, match="no ONNX network"):
        OnnxTwin(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("not a graph")
    with pytest.raises(WeightsFormatError):
        OnnxTwin(tmp_path / "text.onnx")
    with pytest.raises(WeightsFormatError, match="1 inputs and 9 outputs"):
        OnnxTwin(packaged_part("faces/det.onnx"))


def test_constants_are_worked_out_when_the_file_is_read(tmp_path):
    weight = numpy_helper.from_array(np.full((2,), 3, np.float16), "half")
    nodes = [
        helper.make_node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["whole", "whole"], ["nine"]),
        helper.make_node("Add", ["x", "nine"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    file = tmp_path / "a.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weight])), str(file))
    twin = OnnxTwin(file)
    assert [buffer.tolist() for buffer in twin.buffers()] == [[9.0, 9.0]]
    assert twin(torch.ones(1, 2)).tolist() == [[10.0, 10.0]]
