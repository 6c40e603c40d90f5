"""How a row's pictures come about, and how they are found again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from emoji_adapter.errors import InputError
from emoji_adapter.evaluation import fingerprint
from emoji_adapter.evaluation.conditions import Conditions
from emoji_adapter.evaluation.judged import Drawn
from emoji_adapter.evaluation.opponents import StockAdapters, swap_people
from emoji_adapter.evaluation.plan import DECODED, ORACLE, WAYS, RowPlan, Way
from emoji_adapter.evaluation.store import Store
from emoji_adapter.faces.swap import FaceSwapper
from emoji_adapter.metrics.protocol import Advance, Judges, Settings
from emoji_adapter.metrics.records import Cell
from emoji_adapter.models.compound import first_embedding

Load = Callable[[str | None, str | None], Any]
"""Gives a pipeline by the names of a checkpoint and an adapter; None means the table's own."""


@dataclass(frozen=True)
class Drawing:
    """The pictures of all cells made in one way by one adapter; what has no part in it stays at its default.

    Attributes:
        way: a key of `WAYS`.
        checkpoint: None for the table's own.
        adapter: likewise.
        scales: strength of identity and expression.
        expression_guidance_scale: None guides the expression as the text is.
    """

    way: str
    checkpoint: str | None = None
    adapter: str | None = None
    scales: tuple[float, float] = (1.0, 1.0)
    expression_guidance_scale: float | None = None

    @classmethod
    def of(cls, plan: RowPlan, way: str | None = None) -> "Drawing":
        """What a row needs, or one of its companions."""
        name = way or plan.draw
        made = WAYS[name]
        scales = (
            plan.identity_scale if made.identity else 1.0,
            plan.expression_scale if made.expression else 1.0,
        )
        if name == ORACLE:
            return cls(name)
        needs = made.acts or made.swapped is not None
        guidance = plan.expression_guidance_scale if made.expression else None
        return cls(name, plan.checkpoint, plan.adapter if needs else None, scales, guidance)


def drawings_of(plan: RowPlan) -> dict[str, Drawing]:
    """A row's own pictures as `row`, and those of its companions as `own` and `identity_off`."""
    way = WAYS[plan.draw]
    found = {"row": Drawing.of(plan)}
    if way.own is not None:
        found["own"] = Drawing.of(plan, way.own)
    if way.identity_off is not None and plan.identity_off:
        found["identity_off"] = Drawing.of(plan, way.identity_off)
    return found


@dataclass(frozen=True)
class Question:
    """What all drawings of a table have in common.

    Attributes:
        cells: that are asked.
        oracles: the perfect answers, empty where nobody knows them.
        fingerprint: of the cells and their pictures.
    """

    cells: Sequence[Cell]
    oracles: Sequence[Image]
    fingerprint: str


class Studio:
    """Draws and judges, each drawing once.

    Args:
        load: gives pipelines.
        question: what is asked.
        conditions: embeddings of the pictures.
        judges: read.
        settings: how pictures are drawn.
        swapper: for generate-then-swap; None where no row needs it.
        store: keeps what was judged; None keeps nothing.
        advance: told of progress.
    """

    def __init__(
        self,
        load: Load,
        question: Question,
        conditions: Conditions,
        judges: Judges,
        settings: Settings,
        swapper: FaceSwapper | None,
        store: Store | None,
        advance: Advance,
    ):
        self._load, self._question, self._conditions = load, question, conditions
        self._judges, self._settings, self._swapper = judges, settings, swapper
        self._store, self._advance = store, advance
        self._done: dict[str, Drawn] = {}
        self._checkpoints: dict[str | None, str] = {}

    def drawn(self, drawing: Drawing) -> Drawn:
        """The pictures of a drawing and what the judges read in them."""
        key = self._key(drawing)
        if key not in self._done:
            kept = None if self._store is None else self._store.read(key)
            self._done[key] = kept or self._made(drawing, key)
        return self._done[key]

    def _made(self, drawing: Drawing, key: str) -> Drawn:
        images = self._images(drawing)
        self._advance("judging", 0)
        drawn = Drawn(images, self._judges.read(images))
        if self._store is not None:
            self._store.write(key, drawn)
        return drawn

    def _pipe(self, drawing: Drawing) -> Any:
        return self._load(drawing.checkpoint, drawing.adapter)

    def _key(self, drawing: Drawing) -> str:
        """Fingerprint of all that the pictures and readings depend on."""
        way, settings = WAYS[drawing.way], self._settings
        parts = [drawing.way, self._question.fingerprint, self._judges.fingerprint]
        if drawing.way == ORACLE:
            return fingerprint.digest(parts)
        if drawing.checkpoint not in self._checkpoints:
            self._checkpoints[drawing.checkpoint] = fingerprint.of_checkpoint(self._pipe(drawing))
        parts += [self._checkpoints[drawing.checkpoint], str((settings.steps, settings.guidance))]
        if way.acts or way.swapped:
            pipe = self._pipe(drawing)
            told = zip(("identity", "expression"), self._conditions.of(pipe), strict=True)
            acting = {"identity": way.identity or bool(way.swapped), "expression": way.expression}
            parts += [fingerprint.of_tensors(tensor for name, tensor in told if acting[name])]
            branches = [name for name in ("identity", "expression") if getattr(way, name) or way.stock]
            parts += [fingerprint.of_branches(pipe.emoji_adapter, branches), str(drawing.scales)]
        if drawing.expression_guidance_scale is not None:
            parts += [f"expression guidance {drawing.expression_guidance_scale}"]
        if way.swapped and self._swapper is not None:
            parts += [fingerprint.of_file(self._swapper.path)]
        return fingerprint.digest(parts)

    def _images(self, drawing: Drawing) -> list[Image]:
        way = WAYS[drawing.way]
        if drawing.way == ORACLE:
            return list(self._question.oracles)
        if drawing.way == DECODED:
            pipe = self._load(drawing.checkpoint, None)
            return through_autoencoder(pipe, self._question.oracles, self._settings.batch)
        if way.swapped is not None:
            return self._swap(drawing, way.swapped)
        return self._denoised(drawing, way)

    def _swap(self, drawing: Drawing, first: str) -> list[Image]:
        if self._swapper is None:
            raise InputError("Generate-then-swap needs a face swapper, and none was given.")
        adapter = drawing.adapter if WAYS[first].acts else None
        images = self.drawn(replace(drawing, way=first, adapter=adapter)).images
        pipe = self._pipe(drawing)
        self._advance("swapping", 0)
        identities = first_embedding(pipe.emoji_adapter.config, self._conditions.of(pipe)[0])
        return swap_people(images, identities, pipe.face_encoders.analyzer, self._swapper)

    def _denoised(self, drawing: Drawing, way: Way) -> list[Image]:
        pipe, cells = self._pipe(drawing), self._question.cells
        told = self._conditions.of(pipe) if way.acts else None
        stock = StockAdapters(pipe) if way.stock else None
        if way.acts:
            pipe.set_emoji_adapter_scale(identity=drawing.scales[0], expression=drawing.scales[1])
        images: list[Image] = []
        for rows in slices(len(cells), self._settings.batch):
            part = cells[rows]
            arguments: dict[str, Any] = {
                "generator": [torch.Generator("cpu").manual_seed(cell.seed) for cell in part],
                "num_inference_steps": self._settings.steps,
                "guidance_scale": self._settings.guidance,
            }
            if drawing.expression_guidance_scale is not None:
                arguments["expression_guidance_scale"] = drawing.expression_guidance_scale
            prompts = [getattr(cell, way.prompt) for cell in part]
            if stock is not None and told is not None:
                scales = (drawing.scales[0] * way.identity, drawing.scales[1] * way.expression)
                images += stock(prompts, told[0][rows], told[1][rows], scales, **arguments)
            else:
                images += pipe(prompts, **arguments, **_embeds(told, way, rows)).images
            self._advance(drawing.way, len(part))
        return images


def _embeds(told: tuple[Tensor, Tensor] | None, way: Way, rows: slice) -> dict[str, Tensor]:
    """Keyword arguments of the pipeline for the branches that act."""
    if told is None:
        return {}
    acting = {"identity_embeds": way.identity, "expression_embeds": way.expression}
    return {name: given[rows] for (name, acts), given in zip(acting.items(), told, strict=True) if acts}


@torch.no_grad()
def through_autoencoder(pipe: Any, images: Sequence[Image], batch: int = 32) -> list[Image]:
    """Encode pictures to the mode of their latents and back: the best that a generator can draw."""
    decoded: list[Image] = []
    for rows in slices(len(images), batch):
        pixels = pipe.image_processor.preprocess(list(images[rows]))
        latents = pipe.vae.encode(pixels.to(pipe.vae.device, pipe.vae.dtype)).latent_dist.mode()
        decoded += pipe.image_processor.postprocess(pipe.vae.decode(latents).sample)
    return decoded


def slices(count: int, step: int) -> Iterator[slice]:
    """Parts of at most `step` of `count` things."""
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
