"""Projections to the keys and values of the selected layers, computed for all layers at once."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear


class Projection(nn.Module):
    """A matrix `[output_dim, input_dim]`, held whole or as the product of two thin ones.

    Args:
        input_dim: columns.
        output_dim: rows.
        rank: None for a whole matrix (`weight`); else the inner size of `up @ down`.
    """

    def __init__(self, input_dim: int, output_dim: int, rank: int | None):
        super().__init__()
        self.rank = rank
        if rank is None:
            self.weight = nn.Parameter(torch.zeros(output_dim, input_dim))
        else:
            self.up = nn.Parameter(torch.zeros(output_dim, rank))
            self.down = nn.Parameter(torch.randn(rank, input_dim) / input_dim**0.5)

    def matrix(self) -> Tensor:
        """The whole matrix, `[output_dim, input_dim]`."""
        return self.weight if self.rank is None else self.up @ self.down

    @torch.no_grad()
    def set_to(self, matrix: Tensor) -> None:
        """Takes over a whole matrix; at low rank its best approximation (truncated singular values).

        Rank that the matrix has no use for begins silent, and may learn.
        """
        if self.rank is None:
            self.weight.copy_(matrix)
            return
        left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
        roots = values[: self.rank].sqrt()
        self.up.zero_()
        self.up[:, : len(roots)] = left[:, : self.rank] * roots
        self.down[: len(roots)] = roots[:, None] * right[: self.rank]


class LayerProjections(nn.Module):
    """One projection for each of some layers of a U-Net.

    Parameters carry the names of the layers, e.g. `mid_block.attentions.0.transformer_blocks.0.attn2.weight`.

    Args:
        dims: layer -> width.
        input_dim: length of a token.
        rank: see `Projection`.
    """

    def __init__(self, dims: Mapping[str, int], input_dim: int, rank: int | None = None):
        super().__init__()
        self.dims = dict(dims)
        for name, dim in dims.items():
            place(self, name, Projection(input_dim, dim, rank))

    def __getitem__(self, layer: str) -> Projection:
        return cast(Projection, self.get_submodule(layer))

    def matrices(self) -> list[Tensor]:
        """The whole matrix of each layer, in the order of `dims`."""
        return [self[layer].matrix() for layer in self.dims]


def keys_and_values(
    to_k: LayerProjections,
    to_v: LayerProjections,
    tokens: Float[Tensor, "batch *halves tokens input_dim"],
    layer_scales: Sequence[float],
    row_scales: Float[Tensor, " batch"] | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> (keys, values), each `[batch, *halves, tokens, width]`, by one matrix product for all layers.

    Args:
        to_k: projections to keys.
        to_v: projections to values, in the same layers.
        tokens: what the layers may look at.
        layer_scales: factor of the values, one for each layer.
        row_scales: further factor, one for each row.
    """
    if not to_k.dims:
        return {}
    widths = list(to_k.dims.values())
    fused = torch.cat(to_k.matrices() + to_v.matrices())
    keys, values = linear(tokens, fused).chunk(2, dim=-1)
    values = _scaled(values, widths, layer_scales)
    if row_scales is not None:
        values = values * row_scales.view(-1, *[1] * (values.ndim - 1)).to(values)
    return dict(
        zip(to_k.dims, zip(keys.split(widths, -1), values.split(widths, -1), strict=True), strict=True)
    )


def _scaled(values: Tensor, widths: list[int], scales: Sequence[float]) -> Tensor:
    if len(set(scales)) == 1:
        return (
            values * scales[0]
        )  # also by 1: the memory layout must not depend on the scale, or it recompiles
    factors = torch.tensor(scales, dtype=values.dtype).repeat_interleave(torch.tensor(widths))
    return values * factors.to(values.device)


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Registers a module under a dotted path, with empty modules in between."""
    *parents, last = path.split(".")
    for parent in parents:
        if parent not in root._modules:
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(last, module)
