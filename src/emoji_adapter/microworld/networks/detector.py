"""A small one-shot face detector in the layout of SCRFD (Guo et al. 2021, arXiv 2105.04714)."""

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.microworld.networks.anchors import ANCHOR_SIZES, ANCHORS_PER_CELL, STRIDES
from emoji_adapter.microworld.networks.blocks import InvertedBlock, ResidualBlock, conv_norm
from emoji_adapter.microworld.networks.onnx_export import export_onnx

WIDTHS = (16, 24, 48, 80, 128)
"""Channels at strides 2, 4, 8, 16, 32."""
HEAD_WIDTH = 64
_VALUES = 1 + 4 + 10
Raw = tuple[
    Float[Tensor, "batch anchors"], Float[Tensor, "batch anchors 4"], Float[Tensor, "batch anchors 10"]
]
"""Score logits, box distances in strides, landmark offsets in strides; in the order of `anchors`."""


def normalise(canvases: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 3 h w"]:
    """RGB in [0, 1] to what insightface feeds a detector: (x - 127.5) / 128 of the bytes."""
    return (canvases * 255.0 - 127.5) / 128.0


class _Head(nn.Module):
    """Predictions of one stride; boxes and landmarks are predicted in sides of the anchor."""

    def __init__(self, stride: int, sizes: tuple[int, int]):
        super().__init__()
        self.body = nn.Sequential(InvertedBlock(HEAD_WIDTH), InvertedBlock(HEAD_WIDTH))
        self.out = nn.Conv2d(HEAD_WIDTH, ANCHORS_PER_CELL * _VALUES, 1)
        self.register_buffer(
            "scale", torch.tensor(sizes, dtype=torch.float32)[:, None] / stride, persistent=False
        )
        nn.init.normal_(self.out.weight, std=0.01)
        start = torch.zeros(ANCHORS_PER_CELL, _VALUES)
        start[:, 0], start[:, 1:5] = -4.6, 0.5
        self.out.bias = nn.Parameter(start.flatten())

    def forward(self, features: Float[Tensor, "batch c h w"]) -> Raw:
        features = self.body(features)
        with torch.autocast(features.device.type, enabled=False):
            values = self.out(features.float())
        values = values.permute(0, 2, 3, 1).reshape(values.shape[0], -1, ANCHORS_PER_CELL, _VALUES)
        scores, geometry = values[..., 0], values[..., 1:] * self.scale
        return scores.flatten(1), geometry[..., :4].flatten(1, 2), geometry[..., 4:].flatten(1, 2)


class FaceDetector(nn.Module):
    """Faces of about 12 to 600 pixels on canvases whose sides are multiples of 32.

    A plain convolutional backbone to stride 32 (wide depth-wise kernels there: a face of 500 pixels is seen
    whole), a top-down pyramid, one head a stride. The layout is SCRFD's, the sizes are our choice.
    """

    def __init__(self):
        super().__init__()
        c2, c4, c8, c16, c32 = WIDTHS
        self.stem = nn.Sequential(
            conv_norm(3, c2, 3, 2), nn.ReLU(), conv_norm(c2, c4, 3, 2), nn.ReLU(), ResidualBlock(c4, c4)
        )
        self.stage8 = nn.Sequential(conv_norm(c4, c8, 3, 2), *(InvertedBlock(c8) for _ in range(2)))
        self.stage16 = nn.Sequential(conv_norm(c8, c16, 3, 2), *(InvertedBlock(c16) for _ in range(3)))
        self.stage32 = nn.Sequential(conv_norm(c16, c32, 3, 2), *(InvertedBlock(c32, 7) for _ in range(2)))
        self.lateral = nn.ModuleList(conv_norm(c, HEAD_WIDTH, 1) for c in (c8, c16, c32))
        self.heads = nn.ModuleList(_Head(s, a) for s, a in zip(STRIDES, ANCHOR_SIZES, strict=True))

    def levels(self, images: Float[Tensor, "batch 3 h w"]) -> list[Raw]:
        """Raw predictions, one entry a stride; `images` normalised by `normalise`."""
        at8 = self.stage8(self.stem(images))
        at16 = self.stage16(at8)
        at32 = self.stage32(at16)
        top = self.lateral[2](at32)
        middle = self.lateral[1](at16) + functional.interpolate(top, scale_factor=2.0, mode="nearest")
        bottom = self.lateral[0](at8) + functional.interpolate(middle, scale_factor=2.0, mode="nearest")
        return [head(f) for head, f in zip(self.heads, (bottom, middle, top), strict=True)]

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Raw:
        """Raw predictions of all strides together; `images` normalised by `normalise`."""
        scores, boxes, points = zip(*self.levels(images), strict=True)
        return torch.cat(scores, 1), torch.cat(boxes, 1), torch.cat(points, 1)


class _InsightfaceLayout(nn.Module):
    """Nine outputs: probabilities, boxes, landmarks of strides 8, 16, 32; batch x anchors x values."""

    def __init__(self, detector: FaceDetector, cut: float):
        super().__init__()
        self.detector = detector
        self.shift = math.log(cut / (1 - cut))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores, boxes, points = zip(*self.detector.levels(images), strict=True)
        return (*(torch.sigmoid(s - self.shift)[..., None] for s in scores), *boxes, *points)


def export_detector(detector: FaceDetector, path: str | Path, cut: float = 0.5) -> Path:
    """Write the detector as an insightface detection model: dynamic batch, height and width.

    Args:
        detector: on the CPU.
        path: of the file.
        cut: probability that becomes 0.5, where insightface cuts by default; see `detector_cut`.
    """
    kinds = ("score", "bbox", "kps")
    outputs = [f"{kind}_{stride}" for kind in kinds for stride in STRIDES]
    dynamic = {"input.1": {0: "batch", 2: "height", 3: "width"}}
    dynamic |= {name: {0: "batch", 1: f"anchors_{name.rsplit('_')[-1]}"} for name in outputs}
    example = torch.zeros(1, 3, 128, 128)
    return export_onnx(
        _InsightfaceLayout(detector, cut),
        [example],
        path,
        inputs=["input.1"],
        outputs=outputs,
        dynamic=dynamic,
    )
