"""The expression teacher: blendshapes from an expression crop, for filters and losses, never for scores."""

from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.microworld.networks.blocks import InvertedBlock, conv_norm
from emoji_adapter.microworld.networks.landmark_jitter import jitter
from emoji_adapter.microworld.networks.onnx_export import export_onnx
from emoji_adapter.microworld.networks.photometric import degrade
from emoji_adapter.renderer.blendshapes import ARKIT, DRAWN, DRAWN_INDEX
from emoji_adapter.renderer.render import Rendered

L1_WEIGHT = 4.0
EACH, TOGETHER = 0.08, 0.08
"""How far landmarks are moved, see `jitter`: as far as the embedded detector's are off, 0.15 on the mean. A
teacher that has seen true ones only misreads what it is given (ADR 17)."""


class BlendshapeTeacher(nn.Module):
    """Expression crop to the 52 ARKit blendshapes; those that the renderer does not draw are 0.

    Inverted blocks to a 7x7 map, which is read out by place: what counts is where something happens.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (24, 48, 80, 96), hidden: int = 96):
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, widths[0], 5, 2), nn.SiLU()]
        for before, after in pairwise(widths):
            layers += [
                conv_norm(before, after, 3, 2),
                nn.SiLU(),
                InvertedBlock(after, 5, 3),
                InvertedBlock(after, 5, 3),
            ]
        self.body = nn.Sequential(*layers, conv_norm(widths[-1], 48, 1), nn.SiLU())
        self.readout = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(48 * 49, hidden),
            nn.SiLU(),
            nn.Linear(hidden, len(DRAWN)),
        )
        self.spread: Tensor
        spread = torch.zeros(len(DRAWN), len(ARKIT))
        spread[torch.arange(len(DRAWN)), torch.tensor(DRAWN_INDEX)] = 1.0
        self.register_buffer("spread", spread, persistent=False)

    def logits(self, crops: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch drawn"]:
        """Logits of the drawn blendshapes from RGB crops in [0, 1]."""
        return self.readout(self.body(crops * 2.0 - 1.0)).float()

    def forward(self, crops: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch 52"]:
        """Blendshapes in [0, 1] in ARKit's order from RGB crops in [0, 1]."""
        return self.logits(crops).sigmoid() @ self.spread


def teacher_loss(
    teacher: BlendshapeTeacher,
    drawn: Rendered,
    expression: Float[Tensor, "batch drawn"],
    generator: torch.Generator,
    crop: ExpressionCrop | None = None,
) -> dict[str, Tensor]:
    """Cross entropy and mean absolute error against the true blendshapes; "total" is what to minimise.

    Usage:
        parameters = sample(384, generator)
        losses = teacher_loss(teacher, render(parameters), parameters.expression, generator)
        losses["total"].backward()
    """
    points = jitter(drawn.landmarks, generator, EACH, TOGETHER)
    crops = crop_batch(drawn.image, points, crop or ExpressionCrop())
    logits = teacher.logits(degrade(crops, generator))
    with torch.autocast(logits.device.type, enabled=False):
        entropy = functional.binary_cross_entropy_with_logits(logits, expression)
        error = (logits.sigmoid() - expression).abs().mean()
    return {"total": entropy + L1_WEIGHT * error, "entropy": entropy, "error": error}


def export_teacher(teacher: BlendshapeTeacher, path: str | Path, size: int = 112) -> Path:
    """Write the teacher as ONNX: "crops", batch x 3 x size x size in [0, 1], to "blendshapes", batch x 52."""
    dynamic = {"crops": {0: "batch"}, "blendshapes": {0: "batch"}}
    example = torch.zeros(1, 3, size, size)
    return export_onnx(teacher, [example], path, inputs=["crops"], outputs=["blendshapes"], dynamic=dynamic)
