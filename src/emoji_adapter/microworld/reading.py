"""How well the blendshape teacher reads drawn faces, cut where they are and where the detector finds them."""

from typing import Any

import numpy as np
import torch

from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.faces.analysis import FaceAnalyzer
from emoji_adapter.faces.batched import crop_batch
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.faces.pixels import to_bytes
from emoji_adapter.metrics.expression import blendshape_distance
from emoji_adapter.microworld.following import correlation
from emoji_adapter.microworld.networks.detector_figures import landmark_errors
from emoji_adapter.microworld.splits import pictures
from emoji_adapter.renderer.blendshapes import DRAWN_INDEX
from emoji_adapter.renderer.render import render

_CHUNK = 60


@torch.inference_mode()
def reading(
    teacher: BlendshapeTeacher, analyzer: FaceAnalyzer, *, size: int, seed: int = 0, count: int = 480
) -> dict[str, Any]:
    """What stands between a template and the code that an adapter hears.

    Args:
        teacher: that reads.
        analyzer: that finds the faces; the largest of a picture counts.
        size: side of the pictures in pixels.
        seed: of the pictures.
        count: pictures of the test split.

    Returns:
        `landmark_error`, the mean distance of the landmarks in eye distances, and for `true` and for `found`
        landmarks: `exp`, the mean absolute error of the drawn blendshapes, and `correlation` with them. All
        of the pictures in which a face is found; `n` says of how many.
    """
    asked, crop = pictures("test", count, seed + 30), ExpressionCrop()
    codes: dict[str, list[np.ndarray]] = {"true": [], "found": []}
    distances, kept = [], []
    for start in range(0, count, _CHUNK):
        drawn = render(asked.index(slice(start, start + _CHUNK)), size)
        faces = [analyzer.detect(picture) for picture in to_bytes(drawn.image)]
        rows = [row for row, some in enumerate(faces) if some]
        if not rows:
            continue
        kept += [start + row for row in rows]
        true = drawn.landmarks[rows]
        found = torch.from_numpy(np.stack([faces[row][0].landmarks for row in rows])).float()
        distances.append(landmark_errors(found.numpy(), true.numpy()))
        for name, points in (("true", true), ("found", found)):
            crops = to_bytes(crop_batch(drawn.image[rows], points, crop))
            codes[name].append(teacher.estimate(crops)[:, list(DRAWN_INDEX)])
    truth = asked.expression[kept].numpy()
    error = float(np.concatenate(distances).mean())
    figures: dict[str, Any] = {"landmark_error": round(error, 4), "n": len(kept)}
    for name, parts in codes.items():
        read = np.concatenate(parts)
        exp = float(blendshape_distance(read, truth).mean())
        figures[name] = {"exp": round(exp, 4), "correlation": round(correlation(read, truth), 4)}
    return figures
