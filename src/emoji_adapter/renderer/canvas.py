"""The drawing surface: a batch of pictures with a colour and a height in every pixel."""

import torch
from jaxtyping import Float
from torch import Tensor

from emoji_adapter.renderer.blendshapes import DRAWN
from emoji_adapter.renderer.parameters import IDENTITY_NAMES, FaceParameters

HEAD_WIDTH, HEAD_HEIGHT, ZOOM, CENTRE_Y = 0.62, 0.80, 0.95, 0.07
EYE_Y, MOUTH_Y, NOSE_Y = -0.10, 0.43, 0.18
JAW_DROP = 0.12


def smoothstep(x: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """0 below `low`, 1 above `high`, smooth between; `low` may be the greater one."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(
    x: Tensor, y: Tensor, cx: Tensor | float, cy: Tensor | float, rx: Tensor | float, ry: Tensor | float
) -> Tensor:
    """A Gaussian hill of height 1."""
    return torch.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)


class Canvas:
    """A batch of pictures being drawn, with the head's own coordinates in every pixel.

    Attributes:
        u, v: picture coordinates, -1 to 1, x right and y down, shape (1, size, size).
        px, py: the same in the plane of the head: roll, scale and shift taken out.
        x, y: coordinates on the face, turned with the head; `front` is 1 where the surface faces the viewer.
        colour: (batch, 3, size, size), not multiplied by `figure`, the opacity of what is drawn, (batch,
            size, size).
        height: (batch, size, size), in half picture widths.
    """

    def __init__(self, parameters: FaceParameters, size: int):
        device = parameters.identity.device
        self.parameters, self.size = parameters, size
        axis = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
        self.v, self.u = (m[None] for m in torch.meshgrid(axis, axis, indexing="ij"))
        self._identity = dict(zip(IDENTITY_NAMES, parameters.identity.T[:, :, None, None], strict=True))
        self._expression = dict(zip(DRAWN, parameters.expression.T[:, :, None, None], strict=True))
        self.yaw, self.pitch, self.roll, self.scale, self.dx, self.dy = parameters.pose.T[:, :, None, None]
        self.nuisance = parameters.variation.T[:, :, None, None]
        self._place_head()
        self.colour = torch.zeros(len(parameters), 3, size, size, device=device)
        self.figure = torch.zeros(len(parameters), size, size, device=device)
        self.height = torch.zeros(len(parameters), size, size, device=device)

    def who(self, name: str) -> Tensor:
        """An identity number, shape (batch, 1, 1)."""
        return self._identity[name]

    def does(self, name: str) -> Tensor:
        """An expression number, shape (batch, 1, 1)."""
        return self._expression[name]

    def mean(self, name: str) -> Tensor:
        """The mean of an expression number over left and right."""
        return 0.5 * (self.does(name + "Left") + self.does(name + "Right"))

    @property
    def half_width(self) -> Tensor:
        """Half the width of the head at the eyes."""
        return HEAD_WIDTH * (1 + 0.09 * self.who("head_width"))

    @property
    def half_height(self) -> Tensor:
        """Half the height of the head, jaw closed."""
        return HEAD_HEIGHT * (1 + 0.06 * self.who("head_length"))

    def _width_at(self, t: Tensor) -> Tensor:
        """Half width of the silhouette at relative height t (-1 crown, 1 chin)."""
        low = t.clamp_min(0)
        width = 1 - (0.20 - 0.11 * self.who("jaw_width")) * low**2
        width = width + (0.05 * self.who("cheeks") + 0.15 * self.does("cheekPuff")) * torch.exp(
            -(((t - 0.48) / 0.27) ** 2)
        )
        return self.half_width * width

    def _place_head(self) -> None:
        cos, sin = self.roll.cos(), self.roll.sin()
        zoom = ZOOM * self.scale
        a, b = (self.u - self.dx) / zoom, (self.v - CENTRE_Y - self.dy) / zoom
        self.px, self.py = cos * a + sin * b, -sin * a + cos * b
        self.pixel = 2 / self.size / zoom
        jaw = self.does("jawOpen")
        t = self.py / self.half_height
        t = torch.where(t > 0, t / (1 + JAW_DROP * jaw), t)
        sway = 0.13 * (self.does("jawLeft") - self.does("jawRight"))
        side = (self.px - sway * t.clamp(0, 1.2) ** 2) / self._width_at(t.clamp(-1, 1))
        power = 2.35 + 0.35 * self.who("chin_width")
        self.radius = ((side.abs() + 1e-6) ** power + (t.abs() + 1e-6) ** power) ** (1 / power)
        self.depth = (1 - self.radius**2).clamp_min(0).sqrt()
        self.head = ((1 - self.radius) * 0.62 / self.pixel + 0.5).clamp(0, 1)
        # The point of the unit sphere seen in this pixel, turned back: pitch about x, then yaw about y.
        sx, sy, sz = side.clamp(-1, 1), t.clamp(-1, 1), self.depth
        qy, qz = self.pitch.cos() * sy - self.pitch.sin() * sz, self.pitch.sin() * sy + self.pitch.cos() * sz
        qx, qz = self.yaw.cos() * sx - self.yaw.sin() * qz, self.yaw.sin() * sx + self.yaw.cos() * qz
        self.x, self.y = qx * self.half_width, qy * self.half_height * (1 + JAW_DROP * jaw * (qy > 0))
        self.front = self.head * smoothstep(qz, 0.02, 0.15)

    def to_picture(self, x: Tensor, y: Tensor) -> Float[Tensor, "batch 2"]:
        """Where a point of the face, (batch, 1, 1) each, lies in the picture, in pixels."""
        qx, qy = x / self.half_width, y / self.half_height
        qz = (1 - qx**2 - qy**2).clamp_min(0).sqrt()
        sx, sz = self.yaw.cos() * qx + self.yaw.sin() * qz, -self.yaw.sin() * qx + self.yaw.cos() * qz
        sy = self.pitch.cos() * qy + self.pitch.sin() * sz
        px, py = sx * self._width_at(sy.clamp(-1, 1)), sy * self.half_height
        zoom, cos, sin = ZOOM * self.scale, self.roll.cos(), self.roll.sin()
        u, v = zoom * (cos * px - sin * py) + self.dx, zoom * (sin * px + cos * py) + CENTRE_Y + self.dy
        return torch.stack([u, v], dim=-1)[:, 0, 0] * self.size / 2 + self.size / 2

    def soft(self, distance: Tensor, blur: float = 1.0) -> Tensor:
        """A signed distance in head units, negative inside, as a mask with an edge about a pixel wide."""
        return (0.5 - distance / (self.pixel * 1.4 * blur)).clamp(0, 1)

    def paint(self, mask: Tensor, colour: Tensor) -> None:
        """Lay a colour, (batch, 3) or (batch, 3, size, size), over the picture where the mask is 1."""
        colour = colour[:, :, None, None] if colour.ndim == 2 else colour
        figure = mask + self.figure * (1 - mask)
        share = mask / figure.clamp_min(1e-6)
        self.colour = self.colour + share[:, None] * (colour - self.colour)
        self.figure = figure

    def shade(self, mask: Tensor, factor: float) -> None:
        """Darken (factor < 1) or lighten the colour where the mask is 1."""
        self.colour = self.colour * (1 + mask[:, None] * (factor - 1))

    def rgb(self, *values: float) -> Tensor:
        """A fixed colour, shape (1, 3)."""
        return torch.tensor([values], device=self.colour.device)
