"""ONNX operators as torch functions: those of recognisers and blendshape regressors, in inference."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from emoji_adapter.errors import WeightsFormatError


class Attributes:
    """Settings of one node.

    Args:
        values: name to value.
        where: the node, for messages.
    """

    def __init__(self, values: Mapping[str, Any], where: str):
        self._values = values
        self._where = where

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting, or its default."""
        return self._values.get(name, default)

    def require(self, name: str, expected: Any, default: Any = None) -> None:
        """Refuse another value of a setting than the one that is known.

        Raises:
            WeightsFormatError: it has another value.
        """
        value = self._values.get(name, default)
        if value != expected:
            raise WeightsFormatError(
                f"{self._where} has {name}={value!r}, expected {expected!r}: no twin in torch is made of it."
            )

    def padding(self) -> list[int]:
        """Return `pads`, begin and end of every axis, as torch wants them: one number an axis.

        Raises:
            WeightsFormatError: uneven padding, or `auto_pad`.
        """
        self.require("auto_pad", "NOTSET", "NOTSET")
        pads = list(self.get("pads") or [0, 0, 0, 0])
        half = len(pads) // 2
        self.require("pads", pads[:half] * 2, pads)
        return pads[:half]


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.ndim - 2
    stride, dilation = a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    return functional.conv2d(x, weight, bias, stride, a.padding(), dilation, a.get("group", 1))


def _prelu(a: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)  # the slope is broadcast as in ONNX: from the last axis


def _batch_norm(
    a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    a.require("training_mode", 0, 0)
    return functional.batch_norm(x, mean, variance, scale, bias, eps=a.get("epsilon", 1e-5))


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x = x.T if a.get("transA", 0) else x
    product = a.get("alpha", 1.0) * (x @ (weight.T if a.get("transB", 0) else weight))
    return product if bias is None else product + a.get("beta", 1.0) * bias


def _flatten(a: Attributes, x: Tensor) -> Tensor:
    a.require("axis", 1, 1)
    return x.flatten(1)


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    a.require("allowzero", 0, 0)
    sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _transpose(a: Attributes, x: Tensor) -> Tensor:
    return x.permute(a.get("perm") or list(range(x.ndim))[::-1])


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    a.require("ceil_mode", 0, 0)
    inside = not a.get("count_include_pad", 0)
    kernel = a.get("kernel_shape")
    stride = a.get("strides", [1] * len(kernel))
    return functional.avg_pool2d(x, kernel, stride, a.padding(), count_include_pad=not inside)


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    a.require("ceil_mode", 0, 0)
    kernel = a.get("kernel_shape")
    one = [1] * len(kernel)
    return functional.max_pool2d(x, kernel, a.get("strides", one), a.padding(), a.get("dilations", one))


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bounds = [a.get(name) if bound is None else float(bound) for name, bound in (("min", low), ("max", high))]
    return x if bounds == [None, None] else x.clamp(*bounds)


def _cast(a: Attributes, x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x  # float16 weights; whole numbers are shapes


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Constant": lambda a: a.get("value"),
    "Conv": _conv,
    "Div": lambda a, x, y: x / y,
    "Dropout": lambda a, x, *ratio_and_mode: x,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, x: x,
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "PRelu": _prelu,
    "Relu": lambda a, x: functional.relu(x),
    "Reshape": _reshape,
    "Sigmoid": lambda a, x: x.sigmoid(),
    "Sub": lambda a, x, y: x - y,
    "Transpose": _transpose,
}
"""Operator to (settings, *inputs) -> output; an input that is left out is None. Opsets 9 to 21."""
