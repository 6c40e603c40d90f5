"""The detector: targets decode to what was planted, insightface loads it, it learns."""

from typing import Any

import numpy as np
import pytest
import torch
from insightface.model_zoo.scrfd import distance2bbox, distance2kps

from emoji_adapter.microworld.networks.anchors import anchors, decode_boxes, decode_points
from emoji_adapter.microworld.networks.detector import FaceDetector, export_detector, normalise
from emoji_adapter.microworld.networks.detector_figures import detector, detector_figures, face_free
from emoji_adapter.microworld.networks.detector_loss import detector_loss, generalised_iou
from emoji_adapter.microworld.networks.scenes import CANVAS_SIZES, canvas_plan, detector_scenes
from emoji_adapter.microworld.networks.targets import Faces, assign
from emoji_adapter.renderer.parameters import sample
from emoji_adapter.renderer.render import render


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _planted(boxes: list[list[float]], real: bool = True) -> Faces:
    corners = torch.tensor([boxes])
    shares = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    points = corners[..., None, :2] + shares * (corners[..., 2:] - corners[..., :2])[..., None, :]
    flags = torch.full((1, len(boxes)), real)
    return Faces(corners, points, flags, ~flags)


class _Planted(torch.nn.Module):
    """Says exactly what the assignment asks for."""

    def __init__(self, faces: Faces, size: int):
        super().__init__()
        self.faces, self.size = faces, size

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        where = anchors(self.size, self.size)
        goal = assign(where, self.faces)
        boxes, points = self.faces.boxes[0, goal.face[0]], self.faces.points[0, goal.face[0]]
        strides = where.strides[:, None]
        distances = torch.cat([where.centres - boxes[:, :2], boxes[:, 2:] - where.centres], 1) / strides
        offsets = ((points - where.centres[:, None]) / strides[..., None]).flatten(1)
        scores = torch.where(goal.positive[0], 0.9, 0.0)[:, None]
        counts = [(self.size // s) ** 2 * 2 for s in (8, 16, 32)]
        parts = [values.split(counts) for values in (scores, distances, offsets)]
        return tuple(v[None] + 0 * images.mean() for part in parts for v in part)


def test_our_decoding_is_insightfaces():
    where = anchors(64, 96)
    distances, offsets = torch.rand(1, len(where), 4), torch.rand(1, len(where), 10)
    pixels = where.strides[:, None].numpy()
    theirs = distance2bbox(where.centres.numpy(), distances[0].numpy() * pixels)
    assert np.allclose(decode_boxes(where, distances)[0].numpy(), theirs)
    theirs = distance2kps(where.centres.numpy(), offsets[0].numpy() * pixels).reshape(-1, 5, 2)
    assert np.allclose(decode_points(where, offsets)[0].numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("size", [128, 640])
def test_planted_faces_come_back_through_insightface(tmp_path, size):
    from insightface.model_zoo import get_model

    from emoji_adapter.microworld.networks.onnx_export import export_onnx

    scale = size / 128
    faces = _planted([[value * scale for value in box] for box in ([5, 9, 45, 60], [60, 40, 120, 118])])
    names = [f"o{i}" for i in range(9)]
    path = export_onnx(
        _Planted(faces, size), [torch.zeros(1, 3, size, size)], tmp_path / "det.onnx",
        inputs=["input.1"], outputs=names, dynamic={},
    )  # fmt: skip
    model: Any = get_model(str(path), providers=["CPUExecutionProvider"])
    found, points = model.detect(np.zeros((size, size, 3), np.uint8))
    order = np.argsort(found[:, 0])
    assert np.allclose(found[order, :4], faces.boxes[0].numpy(), atol=0.3 * scale)
    assert np.allclose(points[order], faces.points[0].numpy(), atol=0.3 * scale)


@pytest.mark.parametrize("side", [24.0, 33.0, 45.0, 91.0, 130.0, 300.0, 450.0, 600.0])
def test_every_face_has_anchors(side):
    faces = _planted([[10.0, 10.0, 10 + side, 10 + side]])
    goal = assign(anchors(640, 640), faces)
    assert 4 <= int(goal.positive.sum()) <= 40
    assert bool(goal.counted[goal.positive].all())


def test_a_cut_off_face_counts_neither_way():
    goal = assign(anchors(128, 128), _planted([[30.0, 30.0, 110.0, 110.0]], real=False))
    assert not goal.positive.any()
    assert 0 < int((~goal.counted).sum()) < 200


def test_generalised_iou_of_known_boxes():
    box = torch.tensor([0.0, 0.0, 2.0, 2.0])
    iou, giou = generalised_iou(box, torch.tensor([1.0, 0.0, 3.0, 2.0]))
    assert iou == pytest.approx(1 / 3)
    assert giou == pytest.approx(1 / 3)
    assert generalised_iou(box, torch.tensor([4.0, 0.0, 6.0, 2.0]))[1] == pytest.approx(-1 / 3)


def test_scenes_show_the_faces_where_they_say():
    drawn = render(sample(6, _generator()))
    scenes = detector_scenes(drawn, _generator(1), count=24, size=128)
    assert scenes.canvases.shape == (24, 3, 128, 128)
    assert float(scenes.canvases.min()) >= 0
    assert float(scenes.canvases.max()) <= 1
    real = scenes.faces.real
    assert 12 <= int(real.any(1).sum()) < 24, "some canvases have faces, some have none"
    assert int((real.sum(1) >= 2).sum()) >= 2
    middles = scenes.faces.points[real].mean(1)
    assert bool(((middles > 0) & (middles < 128)).all())


def test_canvas_plan_keeps_to_its_pixels():
    for step in range(len(CANVAS_SIZES)):
        size, count = canvas_plan(step, 2**21)
        assert size % 32 == 0
        assert size * size * count <= 2**21


def test_insightface_loads_the_export_and_agrees_with_torch(tmp_path):
    import onnxruntime

    torch.manual_seed(0)
    network = FaceDetector().train()
    network(normalise(torch.rand(4, 3, 64, 64)))
    network.eval()
    path = export_detector(network, tmp_path / "det.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = normalise(torch.rand(2, 3, 96, 160))
    outputs: Any = session.run(None, {"input.1": images.numpy()})
    assert [o.shape[1:] for o in outputs[:3]] == [(480, 1), (120, 1), (30, 1)]
    with torch.no_grad():
        scores, boxes, points = network(images)
    for ours, theirs in (
        (scores.sigmoid()[..., None], outputs[:3]),
        (boxes, outputs[3:6]),
        (points, outputs[6:]),
    ):
        assert np.abs(ours.numpy() - np.concatenate(theirs, 1)).max() < 3e-3
    found = detector(tmp_path, det_thresh=0.999)(np.zeros((100, 130, 3), np.uint8))
    assert found == []


def test_figures_of_an_untrained_detector(tmp_path):
    export_detector(FaceDetector().eval(), tmp_path / "det.onnx")
    figures = detector_figures(tmp_path, sample(4, _generator()), empty=3)
    assert figures["missed"] + figures["found_one"] + figures["doubled"] == pytest.approx(1)
    assert figures["false_hits"] == 0


def test_face_free_pictures_are_as_many_as_asked():
    pictures = list(face_free(sample(4, _generator()), 5, _generator(1)))
    assert len(pictures) == 5
    assert pictures[0].shape == (128, 128, 3)


def test_overfitting_lowers_the_loss():
    torch.manual_seed(0)
    network = FaceDetector()
    scenes = detector_scenes(render(sample(4, _generator())), _generator(2), count=4, size=96)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    first = float(detector_loss(network, scenes)["total"].detach())
    values = [first]
    for _ in range(20):
        total = detector_loss(network, scenes)["total"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        values.append(float(total.detach()))
    assert values[-1] < 0.75 * first
