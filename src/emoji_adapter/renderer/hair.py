"""Hair: it belongs to the identity. Smooth locks, no strands (they cost a small autoencoder the most)."""

import torch
from torch import Tensor

from emoji_adapter.renderer import colours
from emoji_adapter.renderer.canvas import Canvas, smoothstep


def _volume(canvas: Canvas) -> Tensor:
    return 0.085 + 0.055 * canvas.who("hair_volume")


def _bald(canvas: Canvas) -> Tensor:
    """1 for the few without hair on top."""
    return smoothstep(canvas.who("hair_kind"), -0.80, -0.86)


def _locks(canvas: Canvas) -> Tensor:
    """Broad waves of light over the hair; curlier with a greater `hair_kind`."""
    curl = smoothstep(canvas.who("hair_kind"), 0.0, 0.9)
    angle = torch.atan2(canvas.px + 0.05 * torch.sin(9.0 * canvas.py) * (0.3 + curl), 1.15 - canvas.py)
    return torch.cos(angle * 15.0) * (1 - curl) + curl * torch.cos(10.0 * canvas.px) * torch.cos(
        10.0 * canvas.py + 1.0
    )


def draw_back_hair(canvas: Canvas) -> None:
    """What hangs behind the head, down to the length of the hair."""
    volume, length = _volume(canvas), canvas.who("hair_length")
    shift = 0.10 * canvas.yaw.sin()
    end = 0.05 + 0.62 * (length + 0.25)
    px, py = canvas.px + shift, canvas.py
    flare = 1 + 0.10 * smoothstep(py, 0.0, 0.9) * (1 + canvas.who("hair_volume"))
    wide = (canvas.half_width + 0.9 * volume) * flare
    top = ((px / wide).abs() ** 2.3 + ((py + 0.06) / (canvas.half_height + volume)).abs() ** 2.3 + 1e-6) ** (
        1 / 2.3
    ) - 1
    fall = torch.maximum(px.abs() - wide * 0.985, py - end)
    shape = torch.where(
        py < 0, top * 0.6, torch.minimum(torch.maximum(top * 0.6, py - 0.05), fall.clamp_min(-0.2))
    )
    mask = canvas.soft(shape) * (1 - _bald(canvas))
    canvas.paint(mask, 0.72 * colours.hair(canvas))
    canvas.height = torch.where(
        mask > 0.5, 0.10 + 0.10 * canvas.depth + 0.012 * _locks(canvas), canvas.height
    )


def hairline(canvas: Canvas) -> Tensor:
    """Height of the lower edge of the front hair over the face, in face coordinates."""
    fringe = smoothstep(canvas.who("fringe"), 0.15, 0.75)
    part = 0.30 * canvas.who("parting")
    x = canvas.x
    open_ = -0.58 + 0.50 * ((x - 0.4 * part) / 0.6).abs() ** 2.4
    swept = -0.47 + 0.10 * torch.tanh(4 * part) * x + 0.30 * (x / 0.6).abs() ** 4
    return torch.lerp(open_, swept, fringe)


def draw_front_hair(canvas: Canvas) -> None:
    """The cap of hair over the crown, with a fringe or a parting."""
    volume, gone = _volume(canvas), _bald(canvas)
    crown = (
        (canvas.px / (canvas.half_width + 0.9 * volume)).abs() ** 2.3
        + ((canvas.py + 0.06) / (canvas.half_height + volume)).abs() ** 2.3
        + 1e-6
    ) ** (1 / 2.3) - 1
    inside_face = canvas.head * (canvas.depth > 0.02)
    edge = torch.where(inside_face > 0.5, canvas.y - hairline(canvas), canvas.py + 0.02)
    sides = smoothstep(canvas.who("hair_length"), -0.5, -0.1)
    edge = torch.minimum(
        edge, torch.where(canvas.x.abs() > 0.80 * canvas.half_width, canvas.y - 0.02 - 0.25 * sides, edge)
    )
    mask = canvas.soft(torch.maximum(crown * 0.6, edge)) * (1 - gone)
    colour = colours.hair(canvas)
    canvas.paint(mask, colour)
    locks = _locks(canvas)
    canvas.colour = canvas.colour * (1 + 0.13 * (mask * locks)[:, None])
    rim = canvas.soft(edge.abs() - 0.016, 1.5) * mask * inside_face
    canvas.shade(rim, 0.72)
    lifted = 0.20 + 0.55 * canvas.depth.clamp_min(0.15) + 0.06 * volume / 0.1 + 0.012 * locks
    canvas.height = torch.where(mask > 0.5, lifted, canvas.height)
