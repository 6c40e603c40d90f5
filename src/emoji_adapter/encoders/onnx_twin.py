"""A torch twin of a small ONNX network: the same numbers, with gradients towards the picture.

Recognisers and blendshape regressors come as ONNX files, which run but do not differentiate. `OnnxTwin` reads
the graph of one and calls the torch function of each node in turn.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from emoji_adapter.encoders.onnx_operators import OPERATORS, Attributes
from emoji_adapter.errors import WeightsFormatError, WeightsNotFoundError


class OnnxTwin(nn.Module):
    """A frozen feed-forward network with one input and one output, as it stands in an ONNX file.

    Floating-point weights are buffers of float32, whatever the file holds, and move with the module.

    Attributes:
        input_shape: of the graph's input; None where the size may vary.

    Args:
        file: an .onnx file; operators as in `encoders.onnx_operators`.

    Raises:
        WeightsNotFoundError: there is no such file.
        WeightsFormatError: the file is no ONNX network, has several inputs or outputs, or an operator, or a
            setting of one, that has no twin; the message names it.
    """

    def __init__(self, file: str | Path):
        super().__init__()
        graph = _read(Path(file)).graph
        known = {tensor.name: _tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        inputs = [item for item in graph.input if item.name not in known]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise WeightsFormatError(
                f"{file} has {len(inputs)} inputs and {len(graph.output)} outputs; a twin is made of a "
                "network with one of each, such as a recogniser or a blendshape regressor."
            )
        self._input, self._output = inputs[0].name, graph.output[0].name
        sizes = inputs[0].type.tensor_type.shape.dim
        self.input_shape = tuple(size.dim_value or None for size in sizes)
        self._nodes: list[_Node] = []
        for proto in graph.node:
            node = _Node(proto, Path(file))
            if all(name == "" or name in known for name in node.inputs):  # a constant: worked out once
                known[node.output] = node(known)
            else:
                self._nodes.append(node)
        used = {name for node in self._nodes for name in node.inputs} & known.keys()
        self._places = {name: f"weight_{place}" for place, name in enumerate(sorted(used))}
        for name, place in self._places.items():
            self.register_buffer(place, known[name], persistent=False)
        self._try(file)

    def forward(self, x: Tensor) -> Tensor:
        """Run the network in float32; gradients reach `x`.

        Args:
            x: what the ONNX network takes, on the module's device.
        """
        values = {name: getattr(self, place) for name, place in self._places.items()}
        values[self._input] = x.float()
        with torch.autocast(x.device.type, enabled=False):
            for node in self._nodes:
                values[node.output] = node(values)
        return values[self._output]

    @torch.no_grad()
    def _try(self, file: str | Path) -> None:
        """Run the graph once, so that what has no twin is found now and not in the middle of a training."""
        if None in self.input_shape[1:]:
            return
        try:
            self(torch.zeros(1, *(size for size in self.input_shape[1:] if size)))
        except (RuntimeError, TypeError, KeyError, IndexError) as error:
            raise WeightsFormatError(
                f"{file} cannot be run in torch: {type(error).__name__}: {error}. Its operators are known, "
                "but not in this use."
            ) from error


class _Node:
    """One operator of the graph."""

    def __init__(self, proto: Any, file: Path):
        operator = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        if operator not in OPERATORS:
            raise WeightsFormatError(
                f"{file.name} has the operator {operator} (node {proto.name!r}), which has no twin in torch "
                f"here. Known: {', '.join(sorted(OPERATORS))}. Add it to encoders/onnx_operators.py."
            )
        self.inputs = list(proto.input)
        self.output = proto.output[0]
        self._function = OPERATORS[operator]
        values = {item.name: _attribute(item) for item in proto.attribute}
        self._attributes = Attributes(values, f"{operator} (node {proto.name!r}) of {file.name}")

    def __call__(self, values: dict[str, Tensor]) -> Tensor:
        arguments = [values[name] if name else None for name in self.inputs]
        return self._function(self._attributes, *arguments)


def _read(file: Path) -> Any:
    if not file.is_file():
        raise WeightsNotFoundError(f"There is no ONNX network {file}.")
    try:
        model = onnx.load(str(file))
    except Exception as error:
        raise WeightsFormatError(f"{file} cannot be read as an ONNX network: {error}") from error
    if not model.graph.node:
        raise WeightsFormatError(f"{file} holds no ONNX network: its graph is empty.")
    return model


def _attribute(item: Any) -> Any:
    value = onnx.helper.get_attribute_value(item)
    if isinstance(value, onnx.TensorProto):
        return _tensor(numpy_helper.to_array(value))
    return value.decode() if isinstance(value, bytes) else value


def _tensor(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(array.copy())
    return tensor.float() if tensor.is_floating_point() else tensor
