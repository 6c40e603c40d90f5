"""What the detector is trained on: quality focal loss, GIoU, landmark distance."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from emoji_adapter.microworld.networks.anchors import anchors, decode_boxes, decode_points
from emoji_adapter.microworld.networks.detector import FaceDetector, normalise
from emoji_adapter.microworld.networks.scenes import Scenes
from emoji_adapter.microworld.networks.targets import Faces, assign

BOX_WEIGHT, POINT_WEIGHT = 2.0, 8.0


def generalised_iou(
    boxes: Float[Tensor, "... 4"], others: Float[Tensor, "... 4"]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """IoU and generalised IoU (Rezatofighi et al. 2019, arXiv 1902.09630) of XYXY boxes, pair by pair."""

    def area(lower: Tensor, upper: Tensor) -> Tensor:
        return (upper - lower).clamp_min(0).prod(-1)

    inner = area(
        torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    )
    hull = area(
        torch.minimum(boxes[..., :2], others[..., :2]), torch.maximum(boxes[..., 2:], others[..., 2:])
    )
    union = area(boxes[..., :2], boxes[..., 2:]) + area(others[..., :2], others[..., 2:]) - inner
    iou = inner / union.clamp_min(1e-6)
    return iou, iou - (hull - union) / hull.clamp_min(1e-6)


def quality_focal_loss(
    logits: Float[Tensor, "..."], quality: Float[Tensor, "..."], beta: float = 2.0
) -> Float[Tensor, "..."]:
    """Cross entropy against a quality, weighted by |quality - p|^beta (Li et al. 2020, arXiv 2006.04388)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return entropy * (logits.sigmoid() - quality).abs().pow(beta)


def detection_loss(
    detector: FaceDetector, canvases: Float[Tensor, "batch 3 h w"], faces: Faces
) -> dict[str, Tensor]:
    """Losses of the detector on canvases in [0, 1]; "total" is what to minimise.

    The wanted score of an answering anchor is 0.5 + 0.5 IoU: above the usual threshold from the first step
    on, and higher for the better boxes (our choice). No result is read back to the host.
    """
    scores, distances, offsets = detector(normalise(canvases))
    with torch.autocast(canvases.device.type, enabled=False):
        where = anchors(*canvases.shape[-2:], canvases.device)
        goal = assign(where, faces)
        boxes = _take(faces.boxes, goal.face)
        points = _take(faces.points.flatten(2), goal.face).unflatten(-1, (5, 2))
        iou, giou = generalised_iou(decode_boxes(where, distances.float()), boxes)
        quality = torch.where(goal.positive, 0.5 + 0.5 * iou.detach().clamp(0, 1), torch.zeros_like(iou))
        weight = goal.positive.float()
        count = weight.sum().clamp_min(1.0)
        size = (boxes[..., 2:] - boxes[..., :2]).clamp_min(1.0).prod(-1).sqrt()
        away = (decode_points(where, offsets.float()) - points).abs().mean((-1, -2)) / size
        score = (quality_focal_loss(scores.float(), quality) * goal.counted).sum() / count
        box, point = ((1 - giou) * weight).sum() / count, (away * weight).sum() / count
    total = score + BOX_WEIGHT * box + POINT_WEIGHT * point
    return {"total": total, "score": score, "box": box, "point": point}


def detector_loss(detector: FaceDetector, scenes: Scenes) -> dict[str, Tensor]:
    """Loss of one batch of drawn scenes.

    Usage:
        scenes = detector_scenes(generator, render, count=64, size=canvas_size(step))
        losses = detector_loss(detector, scenes); losses["total"].backward()
    """
    return detection_loss(detector, scenes.canvases, scenes.faces)


def _take(values: Tensor, rows: Tensor) -> Tensor:
    return values.gather(1, rows[..., None].expand(*rows.shape, values.shape[-1]))
