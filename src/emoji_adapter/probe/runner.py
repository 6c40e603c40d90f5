"""Pictures of every layer's share: the expression there alone, and everywhere but there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from emoji_adapter.errors import DataError, FaceError, InputError
from emoji_adapter.metrics.expression import blendshape_distance
from emoji_adapter.metrics.identity import cosine
from emoji_adapter.metrics.protocol import Advance, Benchmark, Judges, Settings
from emoji_adapter.metrics.records import Cell, Readings

SETTINGS = Settings(steps=15)
"""A layer's share shows in fewer steps than a table of scores takes (our choice)."""


@dataclass(frozen=True)
class Measures:
    """Means over cells.

    Attributes:
        expression: Exp, the distance from the template's blendshapes; lower is better.
        identity: cosine with the identity photo; higher is better.
        style: share of the pictures in the style that was asked for.
        background: share of the pictures with the background that was asked for.
    """

    expression: float
    identity: float
    style: float
    background: float


@dataclass(frozen=True)
class LayerEffect:
    """What one layer does.

    Attributes:
        layer: its name.
        parameters: keys' and values' weights of the expression branch there.
        alone: the expression acts there only.
        without: it acts everywhere but there.
    """

    layer: str
    parameters: int
    alone: Measures
    without: Measures


@dataclass(frozen=True)
class Probed:
    """The result of a probe.

    Attributes:
        nowhere: the expression acts in no layer, the identity as always.
        everywhere: it acts in all layers of the adapter.
        effects: one a layer, in the order of the U-Net.
        cells: pictures that each figure is a mean of.
    """

    nowhere: Measures
    everywhere: Measures
    effects: tuple[LayerEffect, ...]
    cells: int


def probe(
    pipe: Any,
    benchmark: Benchmark,
    judges: Judges,
    settings: Settings = SETTINGS,
    advance: Advance = lambda name, count: None,
) -> Probed:
    """Probe every layer of an adapter's expression branch, by the same cells and noise.

    The adapter's expression scales are changed meanwhile and are 1 afterwards.

    Args:
        pipe: an `EmojiDiffPipeline` with the adapter.
        benchmark: asks.
        judges: read.
        settings: how pictures are drawn.
        advance: told of progress.

    Raises:
        InputError: the adapter has no expression branch.
        DataError: the encoders found a face in no cell's inputs.
    """
    adapter = pipe.emoji_adapter
    layers = list(adapter.config["expression_layers"] or ())
    if not layers:
        raise InputError("This adapter has no expression branch: there is nothing to probe.")
    pipe.set_progress_bar_config(disable=True)
    asked = _asked(pipe, benchmark, judges)

    def measure(what: str, scale: float | Mapping[str, float]) -> Measures:
        pipe.set_emoji_adapter_scale(expression=scale)
        pictures = _draw(pipe, asked, settings, lambda count: advance(what, count))
        return measures(judges.read(pictures, count_faces=False), asked.photos, asked.cells)

    try:
        nowhere, everywhere = measure("nowhere", 0.0), measure("everywhere", 1.0)
        effects = tuple(
            LayerEffect(
                layer,
                _parameters(adapter, layer),
                alone=measure(layer, {"all": 0.0, layer: 1.0}),
                without=measure(layer, {"all": 1.0, layer: 0.0}),
            )
            for layer in layers
        )
    finally:
        pipe.set_emoji_adapter_scale(expression=1.0)
    return Probed(nowhere, everywhere, effects, len(asked.cells))


def pictures_of(pipe: Any, benchmark: Benchmark) -> int:
    """How many pictures a probe draws at most: the total that `Advance` counts to."""
    layers = pipe.emoji_adapter.config["expression_layers"] or ()
    return len(benchmark.cells) * (2 + 2 * len(layers))


def measures(read: Readings, photos: Readings, cells: Sequence[Cell]) -> Measures:
    """Means of what judges read in pictures.

    Args:
        read: the pictures, one a cell.
        photos: the identity photos, one a cell.
        cells: what was asked.

    Raises:
        InputError: the judges or the cells say nothing of blendshapes.
    """
    asked = [cell.blendshapes for cell in cells if cell.blendshapes is not None]
    if read.blendshapes is None or len(asked) < len(cells):
        raise InputError(
            "The layer probe compares expressions: it needs judges that read blendshapes and cells whose "
            "templates' blendshapes are known, as those of the micro-world."
        )
    truth = np.stack(asked)
    return Measures(
        expression=float(blendshape_distance(read.blendshapes, truth).mean()),
        identity=float(cosine(read.embedding, photos.embedding).mean()),
        style=float(np.mean(read.style == np.array([cell.style for cell in cells]))),
        background=float(np.mean(read.background == np.array([cell.background for cell in cells]))),
    )


@dataclass(frozen=True)
class _Asked:
    """The cells that could be read: what the pipeline is told, and what the judges see in the photos."""

    cells: list[Cell]
    identities: Tensor
    expressions: Tensor
    photos: Readings


def _asked(pipe: Any, benchmark: Benchmark, judges: Judges) -> _Asked:
    people: dict[int, Tensor | None] = {}
    cells, identities, expressions, photos = [], [], [], []
    for number, cell in enumerate(benchmark.cells):
        if cell.identity not in people:
            people[cell.identity] = _encoded(pipe.encode_identity, benchmark.photo(number))
        identity = people[cell.identity]
        expression = _encoded(pipe.encode_expression, benchmark.template(number))
        if identity is not None and expression is not None:
            cells.append(cell)
            identities.append(identity)
            expressions.append(expression)
            photos.append(benchmark.photo(number))
    if not cells:
        raise DataError(
            f"None of the {len(benchmark.cells)} cells of the {benchmark.name} benchmark has a face that the "
            "pipeline's analyzer finds. Probe with the pack that the adapter was trained with."
        )
    read = judges.read(photos, count_faces=False)
    return _Asked(cells, torch.stack(identities), torch.stack(expressions), read)


def _encoded(encode: Callable[[Image], Tensor], picture: Image) -> Tensor | None:
    try:
        return encode(picture)
    except FaceError:
        return None


def _draw(pipe: Any, asked: _Asked, settings: Settings, drawn: Callable[[int], object]) -> list[Image]:
    pictures: list[Image] = []
    for start in range(0, len(asked.cells), settings.batch):
        part = slice(start, start + settings.batch)
        cells = asked.cells[part]
        pictures += pipe(
            [cell.prompt for cell in cells],
            identity_embeds=asked.identities[part],
            expression_embeds=asked.expressions[part],
            generator=[torch.Generator("cpu").manual_seed(cell.seed) for cell in cells],
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
        ).images
        drawn(len(cells))
    return pictures


def _parameters(adapter: Any, layer: str) -> int:
    projections = (adapter.to_k_expression[layer], adapter.to_v_expression[layer])
    return sum(weight.numel() for projection in projections for weight in projection.parameters())
