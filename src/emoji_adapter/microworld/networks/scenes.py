"""Training scenes of the detector: drawn pictures on canvases at every size, with and without faces."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from emoji_adapter.microworld.networks.backdrops import backdrops
from emoji_adapter.microworld.networks.decoys import decoys
from emoji_adapter.microworld.networks.dice import Dice
from emoji_adapter.microworld.networks.photometric import degrade
from emoji_adapter.microworld.networks.targets import Faces
from emoji_adapter.renderer.render import Rendered

SLOTS = 4
VISIBLE, GLIMPSED = 0.7, 0.25
"""Shares of a face's box: shown so far it should be found; below the second it is none."""
EMPTY, FACE, DECOY = range(3)
SINGLE, FILLED, PAIR, GRID, CLOSE, NOBODY = range(6)
LAYOUT_WEIGHTS = (0.22, 0.28, 0.16, 0.08, 0.10, 0.16)
"""One at any size, one that fills the picture, two beside each other, up to four, close up, no face."""
CANVAS_SIZES = (128, 640, 128, 320, 128, 640, 192, 256)


@dataclass(frozen=True)
class Scenes:
    """Canvases in [0, 1] and the faces on them."""

    canvases: Float[Tensor, "batch 3 size size"]
    faces: Faces


@dataclass(frozen=True)
class _Layout:
    """Where pictures lie: cell (XYXY, cut off outside), corner (x, y) and scale of each slot's picture."""

    frame: Float[Tensor, "batch 2"]
    kind: Int[Tensor, "batch slots"]
    cell: Float[Tensor, "batch slots 4"]
    corner: Float[Tensor, "batch slots 2"]
    scale: Float[Tensor, "batch slots"]


def canvas_plan(step: int, pixels: int = 2**23, most: int = 384) -> tuple[int, int]:
    """Side and number of the canvases of a training step; insightface's 128 and 640 come most often."""
    size = CANVAS_SIZES[step % len(CANVAS_SIZES)]
    return size, max(2, min(most, pixels // size**2))


def detector_scenes(drawn: Rendered, generator: torch.Generator, *, count: int, size: int) -> Scenes:
    """Lay drawn pictures out at random.

    As in insightface, a picture that is not square lies in the upper left corner; beyond is black.

    Args:
        drawn: a pool of pictures of any size, on the generator's device; each may be used more than once.
        generator: of all random choices.
        count: how many canvases.
        size: their side, a multiple of 32.
    """
    with torch.no_grad(), torch.autocast(generator.device.type, enabled=False):
        dice = Dice(generator)
        side = drawn.image.shape[-1]
        layout = _layout(dice, count, size, side)
        spoilt = decoys(drawn.image, drawn.landmarks, generator)
        chosen = dice.integer(len(drawn.image), count, SLOTS)
        canvases = backdrops(count, size, generator)
        for slot in range(SLOTS):
            pool = torch.where(
                (layout.kind[:, slot] == DECOY)[:, None, None, None],
                spoilt[chosen[:, slot]],
                drawn.image[chosen[:, slot]],
            )
            canvases = _paste(canvases, pool, layout, slot)
        canvases = degrade(canvases, generator) * _inside(torch.zeros_like(layout.frame), layout.frame, size)
        return Scenes(canvases, _faces(drawn, chosen, layout))


def _layout(dice: Dice, count: int, size: int, side: int) -> _Layout:
    kind = dice.kind(LAYOUT_WEIGHTS, count)
    frame = _frames(dice, count, size)
    cell = _cells(dice, kind, frame)
    room = (cell[..., 2:] - cell[..., :2]).clamp_min(1.0)
    fit, cover = room.amin(-1) / side, room.amax(-1) / side
    filled = torch.where(dice.chance(0.75, count, SLOTS), fit, cover)
    least = torch.minimum(30.0 / side * torch.ones_like(fit), fit)
    any_size = least * (1.5 * fit / least) ** dice.uniform(count, SLOTS).sqrt()
    close = dice.spread(1.6, 5.5, count, SLOTS) * (128 / side) * torch.ones_like(fit)
    shared = fit * dice.uniform(count, SLOTS, low=0.55, high=1.05)
    shared = torch.where(dice.chance(0.4, count, SLOTS), fit, shared)
    scale = torch.stack([any_size, filled, shared, shared, close, any_size], -1)
    scale = scale.gather(-1, kind[:, None, None].expand(count, SLOTS, 1))[..., 0]
    free = room - scale[..., None] * side
    corner = cell[..., :2] + free * dice.uniform(count, SLOTS, 2)
    centred = (kind == FILLED)[:, None, None] & dice.chance(0.7, count, SLOTS, 1)
    corner = torch.where(centred, cell[..., :2] + free / 2, corner)
    return _Layout(frame, _slot_kinds(dice, kind), cell, corner, scale)


def _frames(dice: Dice, count: int, size: int) -> Tensor:
    """Width and height of the picture on its canvas: the longer side fills it."""
    shorter = torch.where(
        dice.chance(0.55, count), torch.ones(count, device=dice.device), dice.uniform(count, low=0.4)
    )
    wide = dice.chance(0.5, count)
    one = torch.ones_like(shorter)
    return torch.stack([torch.where(wide, one, shorter), torch.where(wide, shorter, one)], 1) * size


def _cells(dice: Dice, kind: Tensor, frame: Tensor) -> Tensor:
    """XYXY of the slots: the whole picture, its halves along the longer side, or its quarters."""
    count = len(kind)
    cut = dice.uniform(count, 2, low=0.4, high=0.6)
    wide = frame[:, 0] >= frame[:, 1]
    upright = torch.stack([wide, ~wide], 1)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=dice.device).expand(count, SLOTS, 4)
    low, high = torch.zeros(count, device=dice.device), torch.ones(count, device=dice.device)
    x, y = cut[:, 0], cut[:, 1]
    half_x = torch.where(upright[:, 0], torch.where(dice.chance(0.6, count), 0.5, x), high)
    half_y = torch.where(upright[:, 1], torch.where(dice.chance(0.6, count), 0.5, y), high)
    first = torch.stack([low, low, half_x, half_y], 1)
    second = torch.stack([torch.where(wide, half_x, low), torch.where(wide, low, half_y), high, high], 1)
    pair = torch.stack([first, second, first, second], 1)
    grid = torch.stack(
        [
            torch.stack([low, low, x, y], 1),
            torch.stack([x, low, high, y], 1),
            torch.stack([low, y, x, high], 1),
            torch.stack([x, y, high, high], 1),
        ],
        1,
    )
    pick = kind[:, None, None]
    cells = torch.where(pick == PAIR, pair, torch.where(pick == GRID, grid, whole))
    return cells * frame.repeat(1, 2)[:, None]


def _slot_kinds(dice: Dice, kind: Tensor) -> Tensor:
    """What each slot shows."""
    count = len(kind)
    slot = torch.arange(SLOTS, device=dice.device).expand(count, SLOTS)
    used = torch.tensor([1, 1, 2, 4, 1, 2], device=dice.device)[kind][:, None]
    face = dice.chance(0.85, count, SLOTS) | (kind <= PAIR)[:, None] | (kind == CLOSE)[:, None]
    out = torch.where(face & (kind != NOBODY)[:, None], FACE, DECOY)
    gone = (out == DECOY) & dice.chance(0.4, count, SLOTS)
    return torch.where((slot >= used) | gone, EMPTY, out)


def _inside(lower: Tensor, upper: Tensor, size: int) -> Float[Tensor, "batch 1 size size"]:
    """1 at the pixels whose middle lies between two corners (x, y)."""
    steps = torch.arange(size, device=lower.device) + 0.5
    x = (steps >= lower[:, :1]) & (steps < upper[:, :1])
    y = (steps >= lower[:, 1:]) & (steps < upper[:, 1:])
    return (y[:, None, :, None] & x[:, None, None, :]).float()


def _paste(canvases: Tensor, pictures: Tensor, layout: _Layout, slot: int) -> Tensor:
    """Lay one picture on each canvas, enlarged bilinearly, cut off at the borders of its cell."""
    size, side = canvases.shape[-1], pictures.shape[-1]
    corner, scale, cell = layout.corner[:, slot], layout.scale[:, slot], layout.cell[:, slot]
    steps = torch.arange(size, device=canvases.device) + 0.5
    where = (steps - corner[..., None]) / (scale[:, None, None] * side) * 2 - 1
    x, y = where[:, 0], where[:, 1]
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], -1)
    laid = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    lower = torch.maximum(cell[:, :2], corner)
    upper = torch.minimum(cell[:, 2:], corner + scale[:, None] * side)
    mask = _inside(lower, upper, size) * (layout.kind[:, slot] != EMPTY)[:, None, None, None]
    return canvases + (laid - canvases) * mask


def _faces(drawn: Rendered, chosen: Tensor, layout: _Layout) -> Faces:
    corner, scale = layout.corner, layout.scale[..., None]
    boxes = drawn.box[chosen].unflatten(-1, (2, 2)) * scale[..., None] + corner[:, :, None]
    points = drawn.landmarks[chosen] * scale[..., None] + corner[:, :, None]
    boxes = boxes.flatten(2)
    side = drawn.image.shape[-1]
    lower = torch.maximum(layout.cell[..., :2], corner)
    upper = torch.minimum(layout.cell[..., 2:], corner + scale * side)
    shown = _shown(boxes, lower, upper)
    face: Bool[Tensor, "batch slots"] = layout.kind == FACE
    return Faces(boxes, points, face & (shown >= VISIBLE), face & (shown < VISIBLE) & (shown >= GLIMPSED))


def _shown(boxes: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Share of each box that lies between two corners."""
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1).clamp_min(1e-3)
    seen = torch.minimum(boxes[..., 2:], upper) - torch.maximum(boxes[..., :2], lower)
    return seen.clamp_min(0).prod(-1) / area
