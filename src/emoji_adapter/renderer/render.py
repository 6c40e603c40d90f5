"""From numbers to pictures: a small 2.5-D portrait renderer, batched, on any device."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.renderer import eyes, hair, head, mouth, scene
from emoji_adapter.renderer.canvas import EYE_Y, MOUTH_Y, NOSE_Y, Canvas
from emoji_adapter.renderer.parameters import FaceParameters
from emoji_adapter.renderer.styles import finish


@dataclass(frozen=True)
class Rendered:
    """Drawn pictures and where the faces are.

    Attributes:
        image: RGB in [0, 1], (batch, 3, size, size).
        landmarks: the eye on the viewer's left, the eye on the right, nose tip, mouth corner on the left, on
            the right; (x, y) in pixels, (batch, 5, 2): insightface's order.
        box: forehead to chin and side to side, XYXY in pixels, (batch, 4).
    """

    image: Float[Tensor, "batch 3 size size"]
    landmarks: Float[Tensor, "batch 5 2"]
    box: Float[Tensor, "batch 4"]


_CHUNK = {"cuda": 128, "cpu": 32}
"""Pictures that one call of the compiled drawing makes."""


@torch.no_grad()
def render(parameters: FaceParameters, size: int = 128, *, compiled: bool | None = None) -> Rendered:
    """Draw a batch of faces.

    Args:
        parameters: Who, doing what, where; on the device that shall draw.
        size: Side of the pictures in pixels.
        compiled: Fuse the drawing into a few kernels first: minutes once, then three times faster on a CPU
            (which needs a C++ compiler) and ten times on a GPU. None: for large batches on a GPU.

    Returns:
        Pictures with landmarks and boxes, on the same device.
    """
    device = parameters.identity.device.type
    if compiled is None:
        compiled = device == "cuda" and len(parameters) >= _CHUNK[device]
    with torch.autocast(device, enabled=False):
        return _render_compiled(parameters, size) if compiled else Rendered(*_draw(parameters, size))


def _draw(parameters: FaceParameters, size: int) -> tuple[Tensor, Tensor, Tensor]:
    canvas = Canvas(parameters, size)
    backdrop = scene.background(canvas)
    hair.draw_back_hair(canvas)
    head.draw_neck(canvas)
    scene.draw_scarf(canvas)
    head.draw_ears(canvas)
    head.draw_head(canvas)
    head.draw_nose(canvas)
    mouth.draw_folds(canvas)
    mouth.draw_mouth(canvas)
    eyes.draw_eyes(canvas)
    hair.draw_front_hair(canvas)
    eyes.draw_brows(canvas)
    scene.draw_glasses(canvas)
    scene.draw_hat(canvas)
    scene.draw_earrings(canvas)
    image = finish(canvas, backdrop)
    return image, _landmarks(canvas), _box(canvas)


@functools.cache
def _compiled() -> Callable[[FaceParameters, int], tuple[Tensor, Tensor, Tensor]]:
    return torch.compile(_draw, fullgraph=True, dynamic=False)


def _render_compiled(parameters: FaceParameters, size: int) -> Rendered:
    """In chunks of one size, so that it is compiled once."""
    count, device = len(parameters), parameters.identity.device
    chunk = _CHUNK.get(device.type, 32)
    rows = torch.arange(-(-count // chunk) * chunk, device=device) % count
    parts = [_compiled()(parameters.index(some), size) for some in rows.split(chunk)]
    return Rendered(*(torch.cat(column)[:count] for column in zip(*parts, strict=True)))


def _landmarks(canvas: Canvas) -> Tensor:
    zero, x = torch.zeros_like(canvas.yaw), eyes.eye_x(canvas)
    tip = NOSE_Y + 0.035 * canvas.who("nose_length")
    shift = mouth.mouth_shift(canvas)
    corners = [
        (shift + sign * mouth.half_width(canvas, side), MOUTH_Y + 0.72 * mouth.corner_height(canvas, side))
        for side, sign in (("Right", -1.0), ("Left", 1.0))
    ]
    points = [(-x, zero + EYE_Y), (x, zero + EYE_Y), (zero, zero + tip), *corners]
    return torch.stack([canvas.to_picture(px, py) for px, py in points], dim=1)


def _box(canvas: Canvas) -> Tensor:
    inside = (canvas.head > 0.5) & (canvas.py > -0.62 * canvas.half_height)
    where = torch.arange(canvas.size, device=inside.device, dtype=torch.float32)
    columns, rows = inside.any(1), inside.any(2)
    far = torch.full_like(where, float(canvas.size))
    low = [torch.where(m, where, far).amin(1) for m in (columns, rows)]
    high = [torch.where(m, where + 1, -far).amax(1) for m in (columns, rows)]
    return torch.stack([*low, *high], dim=1)
