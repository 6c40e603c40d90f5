"""Embeddings of every cell's photo and template, for all adapters of a table."""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from emoji_adapter.errors import FaceError
from emoji_adapter.metrics.protocol import Benchmark

ENCODERS = (
    "identity_encoder",
    "second_recogniser",
    "expression_encoder",
    "expression_crop",
    "expression_teacher",
)
"""Parts of an adapter's configuration that tell which encoders it listens to."""


class Conditions:
    """What the pipelines are told. Pictures are read once a set of encoders, photos once a person.

    Args:
        benchmark: whose pictures.
        advance: told of each cell that was encoded.
    """

    def __init__(self, benchmark: Benchmark, advance: Callable[[int], object] = lambda count: None):
        self._benchmark, self._advance = benchmark, advance
        self._found: dict[str, dict[int, tuple[Tensor, Tensor]]] = {}

    def encode(self, pipe: Any) -> None:
        """Read all pictures with the encoders of a pipeline's adapter, unless that is done."""
        key = encoders_of(pipe)
        if key in self._found:
            return
        people: dict[int, Tensor | None] = {}
        found = {}
        for number, cell in enumerate(self._benchmark.cells):
            if cell.identity not in people:
                people[cell.identity] = _encoded(pipe.encode_identity, self._benchmark.photo(number))
            identity = people[cell.identity]
            expression = None
            if identity is not None:
                expression = _encoded(pipe.encode_expression, self._benchmark.template(number))
            if identity is not None and expression is not None:
                found[number] = (identity, expression)
            self._advance(1)
        self._found[key] = found

    @property
    def numbers(self) -> list[int]:
        """Cells in whose pictures all encoders found a face."""
        cells = range(len(self._benchmark.cells))
        return [number for number in cells if all(number in found for found in self._found.values())]

    def of(self, pipe: Any) -> tuple[Tensor, Tensor]:
        """Identity embeddings [n, dim] and patch features [n, patches, width] of the cells `numbers`."""
        found = self._found[encoders_of(pipe)]
        identities, expressions = zip(*(found[number] for number in self.numbers), strict=True)
        return torch.stack(identities), torch.stack(expressions)


def encoders_of(pipe: Any) -> str:
    """The encoders of a pipeline's adapter, as text."""
    return json.dumps({name: pipe.emoji_adapter.config[name] for name in ENCODERS}, sort_keys=True)


def _encoded(encode: Callable[[Any], Tensor], picture: Any) -> Tensor | None:
    try:
        return encode(picture).cpu()
    except FaceError:
        return None
