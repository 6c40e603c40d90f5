"""Recognisers, teacher and swapper: the unmodified insightface loads them, onnxruntime agrees, they learn."""

import contextlib
import io
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from insightface.app import FaceAnalysis
from insightface.model_zoo import get_model
from torch.nn import functional

from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.microworld.networks.detector import FaceDetector, export_detector
from emoji_adapter.microworld.networks.figures import (
    equal_error,
    recogniser_figures,
    swapper_figures,
    teacher_figures,
)
from emoji_adapter.microworld.networks.recogniser import (
    Recogniser,
    SecondRecogniser,
    export_recogniser,
    normalise,
    recognise,
)
from emoji_adapter.microworld.networks.recogniser_loss import contrast_loss, recogniser_loss, second_view
from emoji_adapter.microworld.networks.swapper import Swapper, export_swapper
from emoji_adapter.microworld.networks.swapper_loss import edge_distance, swap_task, swapper_loss
from emoji_adapter.microworld.networks.teacher import BlendshapeTeacher, export_teacher, teacher_loss
from emoji_adapter.renderer.blendshapes import ARKIT, DRAWN, DRAWN_INDEX
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render

pytestmark = pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
CPU = ["CPUExecutionProvider"]
Network = TypeVar("Network", bound=torch.nn.Module)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _settled(network: Network, *inputs: torch.Tensor) -> Network:
    """In evaluation mode with batch statistics of some inputs, and no branch at zero."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    with torch.no_grad():
        network.train()(*inputs)
    return network.eval()


def _run(path, *inputs: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=CPU)
    names = [entry.name for entry in session.get_inputs()]
    return np.asarray(session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})[0])


@pytest.fixture(scope="module")
def drawn():
    return render(sample(4, _generator(5)))


@pytest.mark.parametrize("kind", [Recogniser, SecondRecogniser])
def test_recogniser_in_onnxruntime_equals_torch(tmp_path, kind):
    crops = torch.rand(4, 3, 112, 112)
    network = _settled(kind(), normalise(crops))
    path = export_recogniser(network, tmp_path / "rec.onnx")
    with torch.no_grad():
        ours = network(normalise(crops))
    cosines = functional.cosine_similarity(ours, torch.from_numpy(_run(path, normalise(crops))))
    assert float(cosines.min()) > 1 - 1e-4
    assert path.stat().st_size < 2.2e6


def test_face_analysis_loads_the_pack_and_embeds_as_we_do(tmp_path, drawn):
    torch.manual_seed(1)
    export_detector(FaceDetector().eval(), tmp_path / "det.onnx")
    network = _settled(Recogniser(), torch.rand(4, 3, 112, 112))
    export_recogniser(network, tmp_path / "rec.onnx")
    with contextlib.redirect_stdout(io.StringIO()):
        analysis = FaceAnalysis(name=str(tmp_path), providers=CPU)
        analysis.prepare(ctx_id=-1)
    assert set(analysis.models) == {"detection", "recognition"}
    model = analysis.models["recognition"]
    assert (model.input_mean, model.input_std) == (127.5, 127.5)
    with torch.no_grad():
        ours = recognise(network, drawn.image, drawn.landmarks).numpy()
    for row, image in enumerate(drawn.image):
        bgr = (image * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
        face = SimpleNamespace(kps=drawn.landmarks[row].numpy())
        theirs = model.get(np.ascontiguousarray(bgr), face)
        assert float(ours[row] @ theirs / np.linalg.norm(theirs)) > 0.999


def test_teacher_in_onnxruntime_equals_torch_and_leaves_the_undrawn_at_zero(tmp_path):
    crops = torch.rand(3, 3, 112, 112)
    teacher = _settled(BlendshapeTeacher(), crops)
    theirs = _run(export_teacher(teacher, tmp_path / "blendshapes.onnx"), crops)
    with torch.no_grad():
        ours = teacher(crops).numpy()
    assert theirs.shape == (3, 52)
    assert np.abs(ours - theirs).max() < 1e-3
    undrawn = [i for i in range(len(ARKIT)) if i not in DRAWN_INDEX]
    assert np.all(theirs[:, undrawn] == 0)
    assert np.all(theirs[:, list(DRAWN_INDEX)] > 0)
    assert len(DRAWN) + len(undrawn) == 52


def test_inswapper_loads_the_swapper_and_swaps(tmp_path, drawn):
    torch.manual_seed(2)
    latent = functional.normalize(torch.randn(4, 512), dim=1)
    swapper = _settled(Swapper(), torch.rand(4, 3, 128, 128), latent)
    path = export_swapper(swapper, tmp_path / "swapper.onnx")
    last = onnx.load(str(path)).graph.initializer[-1]
    assert (last.name, list(last.dims)) == ("emap", [512, 512])
    with contextlib.redirect_stdout(io.StringIO()):
        model: Any = get_model(str(path), providers=CPU)
    assert type(model).__name__ == "INSwapper"
    bgr = np.ascontiguousarray((drawn.image[0] * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1])
    target = SimpleNamespace(kps=drawn.landmarks[0].numpy())
    source = SimpleNamespace(normed_embedding=latent[0].numpy())
    aligned, matrix = model.get(bgr, target, source, paste_back=False)
    assert aligned.shape == (128, 128, 3)
    assert matrix.shape == (2, 3)
    pasted = model.get(bgr, target, source)
    assert pasted.shape == bgr.shape
    assert np.abs(pasted.astype(int) - bgr)[40:90, 40:90].mean() > 1
    from emoji_adapter.faces.batched import align_batch

    with torch.no_grad():
        ours = swapper(align_batch(drawn.image[:1], drawn.landmarks[:1], 128), latent[:1])
    ours = (ours[0] * 255).permute(1, 2, 0).numpy()[..., ::-1]
    assert np.abs(ours - aligned).mean() < 1.5


def test_swapper_agrees_in_a_batch(tmp_path):
    target, latent = torch.rand(3, 3, 128, 128), functional.normalize(torch.randn(3, 512), dim=1)
    swapper = _settled(Swapper(), target, latent)
    theirs = _run(export_swapper(swapper, tmp_path / "swapper.onnx"), target, latent)
    with torch.no_grad():
        assert np.abs(swapper(target, latent).numpy() - theirs).max() < 2e-3


def test_swap_task_changes_the_person_and_nothing_else():
    target = sample(3, _generator())
    task = swap_task(target, _generator(1))
    assert not torch.equal(task.answer.identity, target.identity)
    assert torch.equal(task.answer.identity, task.source.identity)
    assert torch.equal(task.answer.expression, target.expression)
    assert torch.equal(task.answer.pose, target.pose)
    assert not torch.equal(task.source.expression, target.expression)


def test_contrast_loss_is_low_only_for_the_right_pairs():
    people = functional.normalize(torch.randn(8, 512, generator=_generator()), dim=1)
    right, cosines = contrast_loss(people, people)
    assert float(right) < 1e-4
    assert torch.allclose(cosines.diagonal(), torch.ones(8))
    assert float(contrast_loss(people, people.roll(1, 0))[0]) > 10


def test_edge_distance_ignores_a_change_of_brightness():
    picture = torch.rand(1, 3, 32, 32, generator=_generator())
    assert float(edge_distance(picture, picture + 0.3)) < 1e-5
    assert float(edge_distance(picture, picture.flip(-1))) > 0.1


def _descend(network: torch.nn.Module, loss, steps: int, rate: float) -> tuple[float, float]:
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    values = []
    for _ in range(steps):
        value = loss()["total"]
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(float(value.detach()))
    return values[0], sum(values[-3:]) / 3


@pytest.mark.parametrize("kind", [Recogniser, SecondRecogniser])
def test_recognisers_learn(kind):
    torch.manual_seed(0)
    people = sample(5, _generator())
    pair, network = (render(people), render(second_view(people, _generator(1)))), kind()
    before, after = _descend(network, lambda: recogniser_loss(network, *pair, _generator(2)), 10, 2e-3)
    assert after < 0.6 * before


def test_teacher_learns():
    torch.manual_seed(0)
    people, teacher = sample(5, _generator()), BlendshapeTeacher()
    picture = render(people)
    before, after = _descend(
        teacher, lambda: teacher_loss(teacher, picture, people.expression, _generator(2)), 14, 2e-3
    )
    assert after < 0.6 * before


def test_teacher_loss_takes_another_crop(drawn):
    teacher = BlendshapeTeacher().eval()
    target = torch.zeros(4, len(DRAWN))
    values = [
        float(teacher_loss(teacher, drawn, target, _generator(), ExpressionCrop(mask=mask))["total"].detach())
        for mask in (True, False)
    ]
    assert values[0] != values[1]


def test_swapper_learns_and_leaves_the_recogniser_alone():
    torch.manual_seed(0)
    task = swap_task(sample(3, _generator()), _generator(1))
    pictures = render(task.target), render(task.source), render(task.answer)
    recogniser = Recogniser().requires_grad_(False).eval()
    state = {k: v.clone() for k, v in recogniser.state_dict().items()}
    swapper = Swapper()
    before, after = _descend(
        swapper, lambda: swapper_loss(swapper, recogniser, pictures, _generator(2)), 6, 2e-3
    )
    assert after < 0.9 * before
    assert all(torch.equal(v, state[k]) for k, v in recogniser.state_dict().items())


def test_equal_error_of_known_scores():
    same, different = torch.tensor([0.2, 0.6, 0.7, 0.8]), torch.tensor([0.0, 0.1, 0.3, 0.65])
    assert equal_error(same, different) == pytest.approx(0.25, abs=0.13)
    assert equal_error(same + 1, different) == 0


def test_figures_of_untrained_networks():
    torch.manual_seed(0)
    people = sample(6, _generator())
    recogniser = _settled(Recogniser(), torch.rand(4, 3, 112, 112))
    figures = recogniser_figures(recogniser, people, _generator(1))
    assert set(figures) == {"same", "different", "different_spread", "equal_error", "top1"}
    assert -1 <= figures["different"] <= 1
    teacher = teacher_figures(BlendshapeTeacher().eval(), people)
    assert teacher["error"] > teacher["constant"] > 0
    swaps = swapper_figures(
        Swapper().eval(), recogniser, recogniser, people.index(slice(0, 2)), _generator(1)
    )
    assert 0 < swaps["pixel"] < 1
